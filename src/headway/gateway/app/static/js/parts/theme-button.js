/** The switch between light and dark; it shows what one gets. */

import { h, icon, set } from "../core/dom.js";
import { shown, toggle } from "../core/theme.js";

const SUN =
  "M8 5.200a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600zM8 1v1.600M8 13.400V15M1 8h1.600M13.400 8H15M3 3l1.200 1.200M11.800 11.800 13 13M13 3l-1.200 1.200M4.200 11.800 3 13";
const MOON = "M13.500 9.700A5.800 5.800 0 0 1 6.300 2.500a5.800 5.800 0 1 0 7.200 7.200z";

export class ThemeButton {
  /** @param {string} name */
  constructor(name) {
    this._path = icon(pathOf(shown()));
    this.element = h(
      "button",
      { type: "button", class: "quiet icon-only", "aria-label": name, title: name, onclick: () => this.press() },
      this._path,
    );
  }

  press() {
    const path = pathOf(toggle());
    if (this._path.firstElementChild) set(this._path.firstElementChild, "d", path);
  }
}

/** @param {"light" | "dark"} theme */
const pathOf = (theme) => (theme === "dark" ? SUN : MOON);
