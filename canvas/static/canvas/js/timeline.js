// The timeline at the foot of the page, and the banner while the page shows the past.

import { kindOf } from "./event_summaries.js";
import { setText } from "./card.js";
import { absolute, age, moment, serverNow } from "../../ui/time.js";

const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
const HINT = "Drag the slider or press ‹ to go back in time.";
/** Height of the strokes of each kind, out of 10; later kinds are drawn over earlier ones. */
const HEIGHTS = { structure: 6, recovery: 3, removal: 8, failure: 10 };
const $ = (id) => document.getElementById(id);

export class Timeline {
  #drawn = null;

  constructor(travel, onFind) {
    this.travel = travel;
    const range = $("scrub");
    range.addEventListener("input", () => travel.scrub(range.valueAsNumber));
    range.addEventListener("change", () => travel.settle());
    range.addEventListener("keydown", (event) => this.#key(event));
    // A change, and not each input: the field has a time at each key.
    $("time").addEventListener("change", ({ target }) => target.value && travel.visit(new Date(target.value).toISOString()));
    const buttons = {
      "step-back": () => travel.step(-1),
      "step-on": () => travel.step(1),
      play: () => travel.play(),
      "go-live": () => this.leave(),
      "past-live": () => this.leave(),
      "panel-live": () => this.leave(),
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
      this.render(false);
      $("scrub").focus();
    }
  }

  /** Returns to the present. The pressed button disappears, so focus moves to the slider. */
  leave() {
    this.travel.leave();
    if (this.travel.isOpen) $("scrub").focus();
  }

  /** Returns to the present, or closes the timeline. */
  escape() {
    if (this.travel.position !== null || this.travel.failure) this.leave();
    else if (this.travel.isOpen) this.toggle();
  }

  /** @param {boolean} isPast whether the page shows the past */
  render(isPast) {
    const { travel } = this;
    const { isOpen, shown, failure, log, position } = travel;
    document.body.toggleAttribute("data-past", isPast);
    $("timeline").hidden = !isOpen;
    $("show-history").setAttribute("aria-expanded", String(isOpen));
    $("past").hidden = !isPast;
    setText($("past-status"), isPast ? "You are looking at the past." : isOpen ? "You are looking at the present." : "");
    if (shown) showTime($("past-when"), shown.at, moment(shown.at));
    if (!isOpen) return;
    this.#renderSlider();
    const isNow = position === null;
    $("step-back").disabled = !log.events.length || (position === 0 && !log.hasOlder);
    $("step-on").disabled = $("play").disabled = isNow;
    $("go-live").disabled = isNow && !failure;
    setText($("play-word"), travel.isPlaying ? "Pause" : "Play");
    $("play").dataset.playing = travel.isPlaying;
    $("timeline-error").hidden = failure === null;
    setText($("timeline-error-word"), failure?.message ?? "");
    $("read-again").hidden = !failure?.again;
    $("timeline").setAttribute("aria-busy", String(travel.isLoading));
    $("what").disabled = !shown || shown.seq !== log.events[position]?.seq;
    this.tick();
  }

  tick() {
    const { shown, log, position } = this.travel;
    if (shown) showTime($("past-age"), shown.at, `(${ago(shown.at)})`);
    const at = log.events[position]?.created_at;
    showTime($("moment-age"), at, at ? ago(at) : "");
  }

  #renderSlider() {
    const { log, position, isLoading } = this.travel;
    const { events } = log;
    const range = $("scrub");
    const event = events[position];
    range.max = events.length;
    range.valueAsNumber = position ?? events.length;
    const when = event ? moment(event.created_at) : "Now";
    const text = event ? this.travel.describe(event) : events.length ? HINT : isLoading ? "Loading events…" : "";
    range.setAttribute("aria-valuetext", event ? `${when}: ${text}` : when);
    showTime($("moment"), event?.created_at, when);
    setText($("what-word"), text);
    $("what").hidden = !text;
    setText($("seq"), event ? `event ${event.seq}` : "");
    if (document.activeElement !== $("time")) $("time").value = event ? localTime(event.created_at) : "";
    if (log !== this.#drawn) this.#drawStrip(log);
  }

  #drawStrip(log) {
    this.#drawn = log;
    const { events, hasOlder } = log;
    $("strip").setAttribute("viewBox", `0 0 ${Math.max(1, events.length)} 10`);
    for (const [kind, height] of Object.entries(HEIGHTS)) {
      const strokes = events.map((event, x) => (kindOf(event) === kind ? `M${x} 10v-${height}` : ""));
      $("strip").querySelector(`.${kind}`).setAttribute("d", strokes.join(""));
    }
    const first = events[0]?.created_at;
    showTime($("oldest"), first, first ? `${hasOlder ? "‹ " : ""}${moment(first)}` : "");
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

/** As a field of type datetime-local takes it. */
function localTime(iso) {
  const date = new Date(iso);
  return new Date(date - 60000 * date.getTimezoneOffset()).toISOString().slice(0, 19);
}

function showTime(element, iso, text) {
  setText(element, text);
  element.title = iso ? absolute(iso) : "";
}

const ago = (iso) => age(serverNow() - Date.parse(iso)).replace("now", "just now");
