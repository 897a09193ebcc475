/** The frame around every view: pages, the state of the figures, filters, and what is switched. */

import { announce } from "./core/said.js";
import { h, icon, say, set } from "./core/dom.js";
import { link } from "./core/place.js";
import { brand } from "./parts/brand.js";
import { FilterBar } from "./parts/filters.js";
import { helpDialog } from "./parts/help.js";
import { banner } from "./parts/notice.js";
import { ThemeButton } from "./parts/theme-button.js";

/** @typedef {import("./core/live.js").State} State */
/** @typedef {import("./core/types.js").Filters} Filters */
/** @typedef {import("./core/types.js").Overview} Overview */

export const PAGES = /** @type {const} */ ([
  ["overview", "Overview"],
  ["calls", "Calls"],
  ["pipelines", "Pipelines"],
  ["keys", "Keys"],
]);

const PAUSE = "M5.500 3.500v9M10.500 3.500v9";
const PLAY = "M5 3.200v9.600L12.500 8z";
const OUT = "M6.500 2.500h-4v11h4M6.500 8h7M10.500 5l3 3-3 3";

const STATES = /** @type {Record<State, [string, string]>} */ ({
  connecting: ["Connecting", "plain"],
  live: ["Live", "ok"],
  reconnecting: ["Reconnecting", "warn"],
  paused: ["Paused", "plain"],
});

/** @param {string} path @param {string} name @param {() => void} act */
function iconButton(path, name, act) {
  return h(
    "button",
    { type: "button", class: "quiet icon-only", "aria-label": name, title: name, onclick: act },
    icon(path),
  );
}

export class Shell {
  /**
   * @param {{
   *   filter: (change: Partial<Filters>) => void, pause: () => void, signOut: () => void,
   * }} on
   */
  constructor(on) {
    this.filters = new FilterBar(on.filter);
    this.help = helpDialog();
    /** @type {Map<string, HTMLAnchorElement>} */
    this._links = new Map();
    const nav = h("nav", { class: "pages", "aria-label": "Pages" });
    for (const [page, name] of PAGES) {
      const anchor = h("a", { href: link(page) }, name);
      this._links.set(page, anchor);
      nav.append(anchor);
    }
    nav.append(h("a", { href: "/try", title: "A page to try a model through this gateway" }, "Try it"));
    this._word = h("span", {}, "Connecting");
    this._state = h("span", { class: "state plain" }, h("i", { "aria-hidden": "true" }), this._word);
    this._pause = iconButton(PAUSE, "Hold the figures (p)", on.pause);
    this._theme = new ThemeButton("Light or dark (t)");
    this._out = iconButton(OUT, "Sign out", on.signOut);
    this._out.hidden = true;
    const helper = h(
      "button",
      {
        type: "button",
        class: "quiet icon-only",
        "aria-label": "Keyboard shortcuts (?)",
        title: "Keyboard shortcuts (?)",
        onclick: () => this.showHelp(),
      },
      "?",
    );
    const tools = h("div", { class: "top-tools" }, this._state, this._pause, this._theme.element, helper, this._out);
    const home = h("a", { class: "home", href: link("overview"), "aria-label": "Headway, overview" }, brand());
    this._banners = h("div", { class: "banners" });
    this._heading = h("h1", { class: "unseen" });
    this._view = h("div");
    this.main = h("main", { id: "main", tabindex: -1 }, this._heading, this._banners, this._view);
    this._foot = h("footer", {}, h("span", {}, "Headway"));
    this.element = h(
      "div",
      { class: "shell" },
      h("header", { class: "top" }, home, nav, tools),
      this.filters.element,
      this.main,
      this._foot,
      this.help,
    );
    /** @type {string} */
    this._troubled = "";
    this._log = this._note = "";
  }

  /**
   * Put a view into the frame.
   *
   * @param {{element: Element, title: string, unfiltered?: boolean, windowOnly?: boolean}} view
   * @param {string} page
   * @param {Filters} filters
   */
  show(view, page, filters) {
    for (const [name, anchor] of this._links) set(anchor, "aria-current", name === page ? "page" : false);
    say(this._heading, view.title);
    document.title = `${view.title} · Headway`;
    if (this._view.firstChild !== view.element) {
      this._view.replaceChildren(view.element);
      scrollTo(0, 0);
    }
    this.filters.element.hidden = view.unfiltered === true;
    this.filters.show(filters, view.windowOnly === true);
  }

  /** @param {State} state */
  showState(state) {
    const [word, tone] = STATES[state];
    if (this._word.textContent !== word && (state === "reconnecting" || state === "paused")) announce(`${word}.`);
    say(this._word, word);
    set(this._state, "class", `state ${tone}`);
    const paused = state === "paused";
    const name = paused ? "Let the figures go on (p)" : "Hold the figures (p)";
    set(this._pause, "aria-label", name);
    set(this._pause, "title", name);
    set(this._pause.firstElementChild?.firstElementChild ?? this._pause, "d", paused ? PLAY : PAUSE);
  }

  /** @param {Overview} overview */
  update(overview) {
    this.filters.offer(overview.choices);
    say(this._foot.firstElementChild ?? this._foot, `Headway ${overview.version}`);
    this._log = overview.log;
    this._note = overview.log_note;
    this._troubled = "";
    this._tell();
  }

  /** The figures could not be had. @param {string} text "" when they can again. */
  trouble(text) {
    this._troubled = text;
    this._tell();
  }

  _tell() {
    const told = [];
    if (this._troubled) told.push(banner(this._troubled, "bad"));
    if (this._log === "off") {
      const why = `${this._note} What is under way is shown, and nothing that has ended.`.trim();
      told.push(banner(`${why} HEADWAY_LOG=on, or log = "on" in its headway.toml, has calls written down.`, "warn"));
    }
    if (this._log === "loading") told.push(banner("Older calls are still being read from the log.", "plain"));
    const words = told.map((one) => one.textContent).join();
    if (this._banners.textContent !== words) this._banners.replaceChildren(...told);
  }

  /** Whether somebody could sign out. @param {boolean} signedIn */
  showSession(signedIn) {
    this._out.hidden = !signedIn;
  }

  switchTheme() {
    this._theme.press();
  }

  showHelp() {
    if (!this.help.open) this.help.showModal();
  }
}
