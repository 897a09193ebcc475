/** All calls of the window, page by page. */

import { h } from "../core/dom.js";
import { link } from "../core/place.js";
import { CallList } from "../parts/call-list.js";
import { card } from "../parts/card.js";
import { loading } from "../parts/notice.js";

/** @typedef {import("../core/types.js").Overview} Overview */

export class CallsView {
  title = "Calls";

  /** @param {(wanted: boolean) => void} failedOnly */
  constructor(failedOnly) {
    this._calls = new CallList({ limit: 50, paged: true, failedOnly });
    this._calls.element.hidden = true;
    this._waiting = loading(8);
    this.element = card(
      "Calls",
      { tools: [search(), this._calls.failedOnly], note: "The latest first" },
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

  /** @param {boolean} only */
  showFailed(only) {
    this._calls.showFailed(only);
  }
}

/** A call by its id, as answers and logs have it. */
function search() {
  const field = h("input", { type: "search", "aria-label": "Open a call by its id", placeholder: "Call id", spellcheck: "false", autocomplete: "off" });
  const go = (/** @type {Event} */ event) => {
    event.preventDefault();
    const id = field.value.trim();
    if (id) location.hash = link("calls", id);
  };
  return h("form", { role: "search", onsubmit: go }, field);
}
