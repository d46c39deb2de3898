// One WebSocket that comes back by itself and resumes where it was.

const PING_MS = 20000;
const PONG_MS = 10000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30000;
const NO_CREDENTIAL = 4401;
const NOT_ALLOWED = 4403;
// The server asks to be called again at once: it restarts, or we were too slow and it kept nothing for us.
const RESUME = [1012, 4408];

/** Doubling, with jitter so that a fleet of browsers does not return in one instant. */
export function backoff(attempt, random = Math.random()) {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt) * (0.5 + random / 2);
}

/** How long to wait after a socket was closed; at once when it says so, unless that has just been tried. */
export function retryDelay(code, attempt, random = Math.random()) {
  return RESUME.includes(code) && attempt === 0 ? 0 : backoff(attempt, random);
}

export class Stream {
  #socket = null;
  #attempt = 0;
  #retryTimer = null;
  #pingTimer;
  #pongTimer;

  /**
   * @param {{since: () => number, onEvent: (event: object) => void, onLive: () => void, onAlive: () => void,
   *   onConnecting: () => void, onLost: (retryAt: number) => void, onRefused: (phase: string) => void}} options
   */
  constructor(options) {
    this.options = options;
  }

  /** Connected, or about to be. */
  get isRunning() {
    return this.#socket !== null || this.#retryTimer !== null;
  }

  connect() {
    this.stop();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws?since=${this.options.since()}&beats=1`);
    this.#socket = socket;
    this.options.onConnecting();
    // A socket that never opens has the same time limit as one that does not answer.
    this.#pongTimer = setTimeout(() => this.#lost(), PONG_MS);
    socket.addEventListener("message", ({ data }) => this.#received(socket, JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => this.#closed(socket, code));
  }

  /** Now rather than when the timer says. */
  retry() {
    this.#attempt = 0;
    this.connect();
  }

  stop() {
    for (const timer of [this.#retryTimer, this.#pingTimer, this.#pongTimer]) clearTimeout(timer);
    this.#retryTimer = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Is anybody there? Asked regularly, and when the page is looked at again. */
  ping() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    clearTimeout(this.#pingTimer);
    clearTimeout(this.#pongTimer);
    this.#socket.send('{"type":"ping"}');
    this.#pongTimer = setTimeout(() => this.#lost(), PONG_MS);
  }

  #received(socket, message) {
    if (socket !== this.#socket) return;
    this.#answered();
    if (message.event === "STREAM_LIVE") {
      this.#attempt = 0;
      this.options.onLive();
    } else if (message.event) {
      this.options.onEvent(message);
    } else {
      this.options.onAlive();
    }
  }

  #answered() {
    clearTimeout(this.#pongTimer);
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => this.ping(), PING_MS);
  }

  #closed(socket, code) {
    if (socket !== this.#socket) return;
    if (code === NO_CREDENTIAL || code === NOT_ALLOWED) {
      this.stop();
      this.options.onRefused(code === NO_CREDENTIAL ? "signed-out" : "forbidden");
    } else {
      this.#lost(code);
    }
  }

  #lost(code = null) {
    this.stop();
    const wait = retryDelay(code, this.#attempt++);
    this.#retryTimer = setTimeout(() => this.connect(), wait);
    this.options.onLost(Date.now() + wait);
  }
}
