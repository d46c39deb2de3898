// The bar at the foot of the page, and the banner that says when the page shows the past.

import { kindOf } from "./event_summaries.js";
import { setText } from "./render.js";
import { age, moment, serverNow } from "./time.js";

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
const HINT = "Drag the slider, or press ←, to go back in time.";
/** How high the strokes of each kind are, of 10; what matters more is drawn over the rest. */
const HEIGHTS = { structure: 6, recovery: 3, removal: 8, trouble: 10 };
const $ = (id) => document.getElementById(id);

export class Timeline {
  #drawn = null;

  /** @param {import("./time_travel.js").TimeTravel} travel @param {(id: string) => void} onFind */
  constructor(travel, onFind) {
    this.travel = travel;
    const range = $("scrub");
    range.addEventListener("input", () => travel.scrub(range.valueAsNumber));
    range.addEventListener("change", () => travel.settle());
    range.addEventListener("keydown", (event) => this.#key(event));
    const buttons = {
      "step-back": () => travel.step(-1),
      "step-on": () => travel.step(1),
      play: () => travel.play(),
      "go-live": () => this.leave(),
      "past-live": () => this.leave(),
      "read-again": () => travel.failure?.again?.(),
      "close-history": () => this.toggle(),
      "show-history": () => this.toggle(),
      what: () => onFind(travel.shown.event.workspace_id),
    };
    for (const [id, run] of Object.entries(buttons)) $(id).addEventListener("click", run);
  }

  toggle() {
    if (this.travel.isOpen) {
      this.travel.close();
      $("show-history").focus();
    } else {
      this.travel.open();
      this.render();
      $("scrub").focus();
    }
  }

  /** Back to now; the button that did it is about to vanish, so focus goes to what stays. */
  leave() {
    this.travel.leave();
    if (this.travel.isOpen) $("scrub").focus();
  }

  escape() {
    if (this.travel.position !== null || this.travel.failure) this.leave();
    else if (this.travel.isOpen) this.toggle();
  }

  render() {
    const { travel } = this;
    const { isOpen, shown, failure, log, position } = travel;
    document.body.toggleAttribute("data-past", shown !== null);
    $("timeline").hidden = !isOpen;
    $("show-history").setAttribute("aria-expanded", String(isOpen));
    $("past").hidden = shown === null;
    setText($("past-said"), shown ? "You are looking at the past." : isOpen ? "You are looking at the present." : "");
    if (shown) setText($("past-when"), moment(shown.at));
    if (!isOpen) return;
    this.#scrubber();
    const isNow = position === null;
    $("step-back").disabled = !log.events.length || (position === 0 && !log.hasOlder);
    $("step-on").disabled = $("play").disabled = isNow;
    $("go-live").disabled = isNow && !failure;
    setText($("play-word"), travel.isPlaying ? "Pause" : "Play");
    $("play").dataset.playing = travel.isPlaying;
    $("trouble").hidden = failure === null;
    setText($("trouble-word"), failure?.message ?? "");
    $("read-again").hidden = !failure?.again;
    $("timeline").setAttribute("aria-busy", String(travel.isLoading));
    $("what").disabled = shown?.seq !== log.events[position]?.seq;
    this.tick();
  }

  /** Once a second: how long ago it was. */
  tick() {
    const { shown, log, position } = this.travel;
    if (shown) setText($("past-age"), `(${ago(shown.at)})`);
    const event = log.events[position];
    setText($("moment-age"), event ? ago(event.created_at) : "");
  }

  #scrubber() {
    const { log, position, isLoading } = this.travel;
    const { events } = log;
    const range = $("scrub");
    const event = events[position];
    range.max = events.length;
    range.valueAsNumber = position ?? events.length;
    const words = event ? this.travel.describe(event) : events.length ? HINT : isLoading ? "Reading the history…" : "";
    range.setAttribute("aria-valuetext", event ? `${moment(event.created_at)}: ${words}` : "Now");
    setText($("moment"), event ? moment(event.created_at) : "Now");
    setText($("what-word"), words);
    setText($("seq"), event ? `event ${event.seq}` : "");
    if (log !== this.#drawn) this.#strip(log);
  }

  #strip(log) {
    this.#drawn = log;
    const { events, hasOlder } = log;
    $("strip").setAttribute("viewBox", `0 0 ${Math.max(1, events.length)} 10`);
    for (const [kind, height] of Object.entries(HEIGHTS)) {
      const strokes = events.map((event, x) => (kindOf(event) === kind ? `M${x} 10v-${height}` : ""));
      $("strip").querySelector(`.${kind}`).setAttribute("d", strokes.join(""));
    }
    const first = events[0];
    setText($("oldest"), first ? `${hasOlder ? "‹ " : ""}${moment(first.created_at)}` : "");
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const by = STEPS[event.key];
    if (by) this.travel.step(by);
    else if (event.key === "Home") this.travel.scrub(0), this.travel.settle();
    else if (event.key === "End") this.travel.leave();
    else return;
    event.preventDefault();
  }
}

const ago = (iso) => age(serverNow() - Date.parse(iso)).replace("now", "just now");
