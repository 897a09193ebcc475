/**
 * The figures as they come: one document at once, then a stream of events. Whatever breaks is begun anew, after 1 s, 2 s,
 * 4 s and so on up to 10 s. A page that nobody sees does not ask.
 */

import { ApiError, ask, queryOf } from "./api.js";

/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {import("./types.js").Overview} Overview */
/** @typedef {"connecting" | "live" | "reconnecting" | "paused"} State */

const RETRY_MS = [1000, 2000, 4000, 10_000];
const SILENT_MS = 60_000;

export class Feed {
  /**
   * @param {{
   *   shown: (overview: Overview) => void, state: (state: State) => void, failed: (error: ApiError) => void,
   * }} on
   */
  constructor(on) {
    this._on = on;
    /** @type {Filters | null} */
    this._filters = null;
    /** @type {EventSource | null} */
    this._source = null;
    /** @type {AbortController | null} */
    this._asking = null;
    this._timer = 0;
    this._tries = 0;
    this.paused = false;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this._end();
      else if (!this.paused) this._begin();
    });
    addEventListener("pagehide", () => this._end());
  }

  /** Show what passes these filters from now on. @param {Filters} filters */
  watch(filters) {
    this._filters = filters;
    this._tries = 0;
    this._begin();
  }

  /** Hold the figures, or let them go on. @param {boolean} paused */
  pause(paused) {
    this.paused = paused;
    this._tries = 0;
    if (!paused) {
      this._begin();
      return;
    }
    this._end();
    this._on.state("paused");
  }

  /** Ask for nothing any more (signed out). */
  stop() {
    this._filters = null;
    this._end();
  }

  async _begin() {
    this._end();
    const filters = this._filters;
    if (filters === null || document.hidden) return;
    if (this.paused) this._on.state("paused");
    else if (this._tries === 0) this._on.state("connecting");
    const asking = (this._asking = new AbortController());
    try {
      // Filters count while the figures are held, too: they are asked for once then.
      const overview = await ask(`/overview?${queryOf(filters)}`, { signal: asking.signal });
      if (asking.signal.aborted) return;
      this._on.shown(overview);
      if (!this.paused) this._open(filters);
    } catch (error) {
      if (asking.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this._on.failed(error);
      if (error.status !== 401 && error.status !== 403) this._again();
    }
  }

  /** @param {Filters} filters */
  _open(filters) {
    const source = (this._source = new EventSource(`/api/live?${queryOf(filters)}`));
    source.addEventListener("open", () => this._heard());
    source.addEventListener("overview", (event) => {
      this._heard();
      this._on.shown(JSON.parse(event.data));
    });
    source.addEventListener("error", () => this._again());
  }

  _heard() {
    this._tries = 0;
    this._on.state("live");
    clearTimeout(this._timer);
    // Heartbeats cannot be seen from here; after a minute of silence a new connection costs less than a dead one.
    this._timer = setTimeout(() => this._begin(), SILENT_MS);
  }

  _again() {
    this._end();
    if (this.paused) return;
    this._on.state("reconnecting");
    this._timer = setTimeout(() => this._begin(), RETRY_MS[Math.min(this._tries, RETRY_MS.length - 1)]);
    this._tries += 1;
  }

  _end() {
    clearTimeout(this._timer);
    this._asking?.abort();
    this._source?.close();
    this._source = null;
  }
}
