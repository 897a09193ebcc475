/** Where the page is: `#/calls/ID?window=900&model=...`. Filters stay while one goes from view to view. */

/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {{path: string[], filters: Filters}} Place */

export const WINDOWS_S = [300, 900, 3600, 21_600, 86_400, 604_800];

/** @type {Filters} */
export const NO_FILTERS = Object.freeze({ window_s: 900, key: "", model: "", route: "", upstream: "", failed: false });

const NAMES = /** @type {const} */ (["key", "model", "route", "upstream"]);

/**
 * Read a hash.
 *
 * @param {string} hash
 * @param {Filters} kept What counts where the hash names no filters at all.
 * @returns {Place}
 */
export function parse(hash, kept) {
  const [way, query] = hash.replace(/^#?\/?/, "").split("?", 2);
  const path = way.split("/").filter(Boolean).map(decoded);
  if (query === undefined) return { path, filters: kept };
  const given = new URLSearchParams(query);
  const asked_s = Number(given.get("window"));
  const filters = { ...NO_FILTERS, window_s: asked_s >= 60 && asked_s <= 604_800 ? asked_s : NO_FILTERS.window_s };
  for (const name of NAMES) filters[name] = given.get(name) ?? "";
  filters.failed = given.get("outcome") === "failed";
  return { path, filters };
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The hash of a place. @param {Place} place */
export function hashOf({ path, filters }) {
  const query = new URLSearchParams({ window: String(filters.window_s) });
  for (const name of NAMES) if (filters[name]) query.set(name, filters[name]);
  if (filters.failed) query.set("outcome", "failed");
  return `#/${path.map(encodeURIComponent).join("/")}?${query}`;
}

/** A link to a view; the filters come along by themselves. @param {...string} path */
export const link = (...path) => `#/${path.map(encodeURIComponent).join("/")}`;

/** Whether anything but the window is chosen. @param {Filters} filters */
export const isFiltered = (filters) => NAMES.some((name) => filters[name] !== "");

/** The hash as a place that is watched. */
export class Places {
  /** @param {(place: Place) => void} moved */
  constructor(moved) {
    this.now = parse(location.hash, NO_FILTERS);
    this._moved = moved;
    addEventListener("hashchange", () => this._read());
  }

  /** Tell where the page is at the beginning. */
  start() {
    this._read();
  }

  /** Go somewhere else, without a step in the history if `quietly`. @param {string[]} path @param {boolean} [quietly] */
  go(path, quietly = false) {
    this._to({ path, filters: this.now.filters }, quietly);
  }

  /** Change filters where we are. @param {Partial<Filters>} change */
  filter(change) {
    this._to({ path: this.now.path, filters: { ...this.now.filters, ...change } }, false);
  }

  /** @param {Place} place @param {boolean} quietly */
  _to(place, quietly) {
    const hash = hashOf(place);
    if (hash === location.hash) return;
    if (!quietly) {
      location.hash = hash;
      return;
    }
    history.replaceState(null, "", hash);
    this._read();
  }

  _read() {
    // The skip link's target is a place in the document, not a view.
    if (location.hash === "#main") {
      history.replaceState(null, "", hashOf(this.now));
      document.getElementById("main")?.focus();
      return;
    }
    this.now = parse(location.hash, this.now.filters);
    const whole = hashOf(this.now);
    if (whole !== location.hash) history.replaceState(null, "", whole);
    this._moved(this.now);
  }
}
