// Which of several answers counts: that of the last question.

/** Runs one task at a time: a new one aborts the one before, whose result or failure is ignored. */
export class LatestTask {
  #controller = null;

  /**
   * @param {(signal: AbortSignal) => Promise<any>} task starts after `delay` milliseconds unless replaced by then
   * @returns {Promise<{value: any}|null>} null when replaced or cancelled; rejects when the last task does
   */
  async run(task, delay = 0) {
    this.cancel();
    const controller = new AbortController();
    this.#controller = controller;
    if (delay) await new Promise((resolve) => setTimeout(resolve, delay));
    if (controller.signal.aborted) return null;
    try {
      const value = await task(controller.signal);
      return controller.signal.aborted ? null : { value };
    } catch (failure) {
      if (controller.signal.aborted) return null;
      throw failure;
    }
  }

  cancel() {
    this.#controller?.abort();
    this.#controller = null;
  }
}
