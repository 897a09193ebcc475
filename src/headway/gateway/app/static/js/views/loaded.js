/** A view whose figures are asked for when it opens and every few seconds after that, while somebody looks. */

import { ApiError, ask } from "../core/api.js";
import { h, say } from "../core/dom.js";
import { loading } from "../parts/notice.js";

const EVERY_MS = 10_000;

export class Loaded {
  /**
   * @param {() => string} path What to ask for.
   * @param {(found: any) => void} show
   * @param {(error: ApiError) => boolean} refused Whether the error was seen to.
   */
  constructor(path, show, refused) {
    this._path = path;
    this._show = show;
    this._refused = refused;
    this._asking = new AbortController();
    this._timer = 0;
    this._trouble = h("p", { class: "banner bad", role: "alert", hidden: true });
    this._waiting = loading();
    this.element = h("div", { class: "stack" }, this._trouble, this._waiting);
  }

  /** Ask, now and from time to time. */
  async ask() {
    this.end();
    const asking = (this._asking = new AbortController());
    try {
      if (!document.hidden) {
        const found = await ask(this._path(), { signal: asking.signal });
        this._waiting.hidden = true;
        this._trouble.hidden = true;
        this._show(found);
      }
    } catch (error) {
      if (asking.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this._waiting.hidden = true;
      if (this._refused(error)) return;
      say(this._trouble, error.message);
      this._trouble.hidden = false;
    }
    if (!asking.signal.aborted) this._timer = setTimeout(() => this.ask(), EVERY_MS);
  }

  /** Ask no more. */
  end() {
    clearTimeout(this._timer);
    this._asking.abort();
  }
}
