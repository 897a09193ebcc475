/** What is looked at: a window of time, and a key, a model, a route, an upstream. Kept in the address. */

import { h, set } from "../core/dom.js";
import { keyName, named } from "../core/keys.js";
import { span } from "../core/format.js";
import { NO_FILTERS, WINDOWS_S, isFiltered } from "../core/place.js";

/** @typedef {import("../core/types.js").Filters} Filters */
/** @typedef {import("../core/types.js").Choice} Choice */
/** @typedef {import("../core/types.js").Choices} Choices */

const SELECTS = /** @type {const} */ ([
  ["key", "keys", "Key", "All keys"],
  ["model", "models", "Model", "All models"],
  ["route", "routes", "Route", "All routes"],
  ["upstream", "upstreams", "Upstream", "All upstreams"],
]);

export class FilterBar {
  /** @param {(change: Partial<Filters>) => void} changed */
  constructor(changed) {
    /** @type {Map<number, HTMLInputElement>} */
    this._windows = new Map();
    const windows = h("fieldset", { class: "segments" }, h("legend", { class: "unseen" }, "Window of time"));
    for (const window_s of WINDOWS_S) {
      const radio = h("input", {
        type: "radio",
        name: "window",
        value: window_s,
        onchange: () => changed({ window_s }),
      });
      this._windows.set(window_s, radio);
      windows.append(h("label", {}, radio, h("span", {}, span(window_s))));
    }
    /** @type {Map<string, HTMLSelectElement>} */
    this._selects = new Map();
    this._choices = h("div", { class: "choices" });
    for (const [name, , label, all] of SELECTS) {
      const select = h("select", { "aria-label": label, name }, h("option", { value: "" }, all));
      select.addEventListener("change", () => changed({ [name]: select.value }));
      this._selects.set(name, select);
      this._choices.append(select);
    }
    const reset = () => {
      changed({ ...NO_FILTERS, window_s: this._window_s });
      this.focus();
    };
    this._window_s = NO_FILTERS.window_s;
    this._reset = h("button", { type: "button", class: "quiet", onclick: reset, hidden: true }, "Clear");
    this._choices.append(this._reset);
    this.element = h(
      "form",
      { class: "filters", "aria-label": "Filters", onsubmit: (/** @type {Event} */ event) => event.preventDefault() },
      windows,
      this._choices,
    );
  }

  /** Show what is chosen. @param {Filters} filters @param {boolean} windowOnly The view knows no other filters. */
  show(filters, windowOnly) {
    this._window_s = filters.window_s;
    for (const [window_s, radio] of this._windows) radio.checked = window_s === filters.window_s;
    this._choices.hidden = windowOnly;
    for (const [name, , , all] of SELECTS) {
      const select = /** @type {HTMLSelectElement} */ (this._selects.get(name));
      const value = filters[name];
      if (![...select.options].some((one) => one.value === value)) {
        select.append(h("option", { value }, name === "key" ? keyName(value, "") : value));
      }
      select.value = value;
      set(select, "class", value ? "chosen" : false);
      set(select, "title", value ? select.selectedOptions[0].textContent : all);
    }
    this._reset.hidden = !isFiltered(filters);
  }

  /** Offer what there is to choose from. @param {Choices} choices */
  offer(choices) {
    for (const [name, list] of SELECTS) {
      const select = /** @type {HTMLSelectElement} */ (this._selects.get(name));
      // A list that changes under somebody's fingers closes in some browsers.
      if (select !== document.activeElement) offered(select, name === "key" ? named(choices.keys) : choices[list]);
    }
  }

  /** The keyboard goes to the filters. */
  focus() {
    const first = this._choices.hidden ? this._windows.get(this._window_s) : this._selects.get("key");
    first?.focus();
  }
}

/** @param {HTMLSelectElement} select @param {Choice[]} choices */
function offered(select, choices) {
  const chosen = select.value;
  const wanted =
    choices.some(({ id }) => id === chosen) || !chosen ? choices : [{ id: chosen, name: chosen }, ...choices];
  const [all, ...options] = select.options;
  const same =
    options.length === wanted.length &&
    options.every(
      (one, index) => one.value === wanted[index].id && one.textContent === (wanted[index].name || wanted[index].id),
    );
  if (same) return;
  select.replaceChildren(all, ...wanted.map(({ id, name }) => h("option", { value: id }, name || id)));
  select.value = chosen;
}
