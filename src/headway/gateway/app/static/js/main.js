/** The dashboard: who is there, where the page is, what it shows, and the figures that come in. */

import { tuneClock, startAges } from "./core/ages.js";
import { ApiError, ask, queryOf, session, signOut } from "./core/api.js";
import { h } from "./core/dom.js";
import { Feed } from "./core/live.js";
import { Places, link } from "./core/place.js";
import { announce } from "./core/said.js";
import { Drawer } from "./parts/drawer.js";
import { loading, notice } from "./parts/notice.js";
import { PAGES, Shell } from "./shell.js";
import { listen } from "./shortcuts.js";
import { callDetail } from "./views/call.js";
import { CallsView } from "./views/calls.js";
import { KeysView } from "./views/keys.js";
import { OverviewView } from "./views/overview.js";
import { PipelineView, PipelinesView } from "./views/pipelines.js";
import { RunView } from "./views/run.js";
import { signInView } from "./views/sign-in.js";

/** @typedef {import("./core/types.js").Overview} Overview */
/** @typedef {import("./core/types.js").Filters} Filters */
/** @typedef {import("./core/place.js").Place} Place */
/**
 * @typedef {{
 *   element: HTMLElement, title: string, unfiltered?: boolean, windowOnly?: boolean, open?: (filters: Filters) => void,
 *   close?: () => void, update?: (overview: Overview) => void, toggleFailed?: () => void,
 *   showFailed?: (only: boolean) => void,
 * }} View
 */

class Dashboard {
  constructor() {
    this._root = /** @type {HTMLElement} */ (document.getElementById("app"));
    /** @type {View | null} */
    this._view = null;
    this._shown = "";
    this._watched = "";
    /** @type {string[]} */
    this._base = ["calls"];
    /** @type {Overview | null} */
    this._overview = null;
    this._signedIn = false;
    this._isInside = false;
    this._asking = new AbortController();
    this._shell = new Shell({
      filter: (change) => this._places.filter(change),
      pause: () => this._feed.pause(!this._feed.paused),
      signOut: () => this._leave(),
    });
    this._drawer = new Drawer(() => this._places.go(this._base, true));
    this._shell.element.append(this._drawer.element);
    this._feed = new Feed({
      shown: (overview) => this._update(overview),
      state: (state) => this._shell.showState(state),
      failed: (error) => this._refused(error) || this._shell.trouble(error.message),
    });
    this._places = new Places((place) => this._moved(place));
  }

  /** Find out who is there, and show the page or the door. */
  async start() {
    try {
      const found = await session();
      if (found.needs_key && !found.signed_in) {
        this._showDoor();
        return;
      }
      this._signedIn = found.needs_key;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (this._refused(error)) return;
      const again = h("button", { type: "button", class: "primary", onclick: () => this.start() }, "Try again");
      this._root.replaceChildren(
        h("main", { id: "main", class: "door" }, notice("The dashboard cannot be shown", error.message, again)),
      );
      return;
    }
    this._shell.showSession(this._signedIn);
    this._root.replaceChildren(this._shell.element);
    this._isInside = true;
    this._places.start();
  }

  _showDoor() {
    this._isInside = false;
    this._feed.stop();
    this._view?.close?.();
    this._drawer.close();
    this._view = this._overview = null;
    this._shown = this._watched = "";
    document.title = "Sign in · Headway";
    this._root.replaceChildren(signInView(() => this.start()));
    document.getElementById("key")?.focus();
  }

  async _leave() {
    try {
      await signOut();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
    this._showDoor();
    announce("Signed out.");
  }

  /** Whether an error means that nobody is signed in (any more); the door is shown then. @param {ApiError} error */
  _refused(error) {
    if (error.status !== 401) return false;
    if (this._isInside) this._showDoor();
    return true;
  }

  /** @param {Place} place */
  _moved({ path, filters }) {
    if (!this._isInside) return;
    const [page = "overview", id] = path;
    const isCall = page === "calls" && id !== undefined;
    if (!isCall) this._base = path.length ? path : ["overview"];
    const base = this._base;
    const name = base.join("/");
    if (this._shown !== name || this._view === null) this._replace(base, name);
    const view = /** @type {View} */ (this._view);
    this._shell.show(view, base[0] === "runs" ? "pipelines" : base[0], filters);
    view.showFailed?.(filters.failed === true);
    if (isCall) this._openCall(id);
    else this._drawer.close();
    const watched = queryOf(filters);
    if (this._watched !== watched) {
      this._watched = watched;
      this._feed.watch(filters);
      view.open?.(filters);
    }
  }

  /** @param {string[]} base @param {string} name */
  _replace(base, name) {
    this._view?.close?.();
    this._view = this._viewOf(base);
    this._shown = name;
    if (this._overview) this._view.update?.(this._overview);
    if (this._watched) this._view.open?.(this._places.now.filters);
    announce(this._view.title);
  }

  /** @param {string[]} base @returns {View} */
  _viewOf([page, id]) {
    const refused = (/** @type {ApiError} */ error) => this._refused(error);
    const failedOnly = (/** @type {boolean} */ failed) => this._places.filter({ failed });
    if (page === "overview") return new OverviewView(this._signedIn, failedOnly);
    if (page === "calls") return new CallsView(failedOnly);
    if (page === "pipelines") return id === undefined ? new PipelinesView(refused) : new PipelineView(id, refused);
    if (page === "runs" && id !== undefined) return new RunView(id, refused);
    if (page === "keys") return new KeysView(refused);
    const element = notice(
      "There is no such page",
      "The address may be from another version.",
      h("a", { class: "button", href: link("overview") }, "Overview"),
    );
    return { element, title: "Not found", unfiltered: true };
  }

  /** @param {string} id */
  async _openCall(id) {
    this._asking.abort();
    const asking = (this._asking = new AbortController());
    this._drawer.show("Call", loading(6));
    try {
      const detail = await ask(`/calls/${encodeURIComponent(id)}`, { signal: asking.signal });
      this._drawer.show(detail.call.model || detail.call.route, callDetail(detail));
    } catch (error) {
      if (asking.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (!this._refused(error)) this._drawer.replace(notice("This call cannot be shown", error.message));
    }
  }

  /** @param {Overview} overview */
  _update(overview) {
    this._overview = overview;
    tuneClock(overview.now_wall_s);
    this._shell.update(overview);
    this._view?.update?.(overview);
  }

  /** What single keys do. */
  shortcuts() {
    /** @type {Record<string, () => void>} */
    const actions = {
      "/": () => this._shell.filters.focus(),
      "?": () => this._shell.showHelp(),
      f: () => this._view?.toggleFailed?.(),
      p: () => this._feed.pause(!this._feed.paused),
      t: () => this._shell.switchTheme(),
    };
    PAGES.forEach(([page], index) => {
      actions[String(index + 1)] = () => this._places.go([page]);
    });
    listen(Object.fromEntries(Object.entries(actions).map(([key, act]) => [key, () => this._isInside && act()])));
  }
}

const dashboard = new Dashboard();
dashboard.shortcuts();
startAges();
dashboard.start();
