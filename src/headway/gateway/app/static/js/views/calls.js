/** All calls of the window, page by page. */

import { CallList } from "../parts/call-list.js";
import { card } from "../parts/card.js";
import { loading } from "../parts/notice.js";

/** @typedef {import("../core/types.js").Overview} Overview */

export class CallsView {
  title = "Calls";

  constructor() {
    this._calls = new CallList({ limit: 50, paged: true });
    this._calls.element.hidden = true;
    this._waiting = loading(8);
    this.element = card(
      "Calls",
      { tools: [this._calls.failedOnly], note: "The latest first" },
      this._waiting,
      this._calls.element,
    );
  }

  /** @param {Overview} overview */
  update(overview) {
    this._calls.update(overview);
    this._waiting.hidden = true;
    this._calls.element.hidden = false;
  }

  toggleFailed() {
    this._calls.toggleFailed();
  }
}
