// One WebSocket that reconnects by itself and resumes after the last event. The canvas and the admin use it.

const CONNECT_MS = 8000;
/** Silence before a ping, and then before the connection counts as lost: 8 s, because the page promises 10. */
const PING_MS = 3000;
const PONG_MS = 5000;
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30000;
const NO_CREDENTIAL = 4401;
const NOT_ALLOWED = 4403;
/** The log was restored and no longer has our last event: everything has to be loaded again. */
const START_OVER = 4409;
// Close codes after which to reconnect at once: the server restarts, or this client was too slow.
const RECONNECT_AT_ONCE = [1012, 4408];

/** Milliseconds, doubling with each attempt; the jitter keeps browsers from reconnecting together. */
export function backoff(attempt, random = Math.random()) {
  return Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** attempt) * (0.5 + random / 2);
}

/** Milliseconds to wait after a socket was closed; 0 when the code asks for it and this is the first attempt. */
export function retryDelay(code, attempt, random = Math.random()) {
  return RECONNECT_AT_ONCE.includes(code) && attempt === 0 ? 0 : backoff(attempt, random);
}

/**
 * Options: `path` of the socket, `beats` whether heartbeats are wanted, `position()` → {seq, eventId}, and the callbacks
 * onConnecting(), onLive(), onEvent(event), onAlive(), onLost(when it tries again), onRefused("signed-out"|"forbidden")
 * and onStartOver(), which is called instead of the next attempt when the log was restored.
 */
export class Stream {
  #socket = null;
  #isAdmitted = false;
  #attempt = 0;
  #retryTimer = null;
  #pingTimer;
  #lostTimer;

  constructor(options) {
    this.options = options;
  }

  /** Connected, connecting, or waiting to reconnect. */
  get isRunning() {
    return this.#socket !== null || this.#retryTimer !== null;
  }

  connect() {
    this.stop();
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const { path, beats } = this.options;
    const { seq, eventId } = this.options.position();
    const query = `since=${seq}&after_id=${eventId}${beats ? "&beats=1" : ""}`;
    const socket = new WebSocket(`${scheme}://${location.host}${path}?${query}`);
    this.#socket = socket;
    this.#isAdmitted = false;
    this.options.onConnecting();
    this.#lostTimer = setTimeout(() => this.#lost(), CONNECT_MS);
    socket.addEventListener("message", ({ data }) => this.#received(socket, JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => this.#closed(socket, code));
  }

  retry() {
    this.#attempt = 0;
    this.connect();
  }

  stop() {
    for (const timer of [this.#retryTimer, this.#pingTimer, this.#lostTimer]) clearTimeout(timer);
    this.#retryTimer = null;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Starts the time limit here, not with the last message: browsers delay the timers of a hidden page. */
  ping() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    clearTimeout(this.#pingTimer);
    clearTimeout(this.#lostTimer);
    this.#socket.send('{"type":"ping"}');
    this.#lostTimer = setTimeout(() => this.#lost(), PONG_MS);
  }

  #received(socket, message) {
    if (socket !== this.#socket) return;
    this.#isAdmitted = true;
    this.#watchForSilence();
    if (message.event === "STREAM_LIVE") {
      this.#attempt = 0;
      this.options.onLive();
    } else if (message.event) {
      this.options.onEvent(message);
    } else {
      this.options.onAlive();
    }
  }

  #watchForSilence() {
    clearTimeout(this.#lostTimer);
    clearTimeout(this.#pingTimer);
    this.#pingTimer = setTimeout(() => this.ping(), PING_MS);
  }

  #closed(socket, code) {
    if (socket !== this.#socket) return;
    if (code === NOT_ALLOWED && this.#isAdmitted) {
      // The credential has ended. The next handshake says why: signed out, or not allowed any more.
      this.connect();
    } else if (code === NO_CREDENTIAL || code === NOT_ALLOWED) {
      this.stop();
      this.options.onRefused(code === NO_CREDENTIAL ? "signed-out" : "forbidden");
    } else {
      this.#lost(code);
    }
  }

  #lost(code = null) {
    this.stop();
    const wait = retryDelay(code, this.#attempt++);
    this.#retryTimer = setTimeout(() => (code === START_OVER ? this.options.onStartOver() : this.connect()), wait);
    this.options.onLost(Date.now() + wait);
  }
}
