/** Times that are told as ages ("12 s ago"), and grow older on the page. */

import { h, say, set } from "./dom.js";
import { ago, moment } from "./format.js";

let skew_s = 0;

/** The gateway's time, which need not be this machine's. @param {number} now_wall_s */
export function tuneClock(now_wall_s) {
  skew_s = now_wall_s - Date.now() / 1000;
}

/** Now, by the gateway's clock. */
export const now = () => Date.now() / 1000 + skew_s;

/** An age, with the moment itself for who points at it. @param {number} wall_s */
export function age(wall_s) {
  return shownAt(h("time"), wall_s);
}

/** Have an element show another moment's age. @param {HTMLTimeElement} element @param {number} wall_s */
export function shownAt(element, wall_s) {
  element.dateTime = new Date(wall_s * 1000).toISOString();
  element.dataset.at = String(wall_s);
  set(element, "title", moment(wall_s));
  say(element, ago(now() - wall_s));
  return element;
}

/** Let all ages on the page grow. */
export function startAges() {
  setInterval(() => {
    if (document.hidden) return;
    for (const element of /** @type {NodeListOf<HTMLTimeElement>} */ (document.querySelectorAll("time[data-at]"))) {
      say(element, ago(now() - Number(element.dataset.at)));
    }
  }, 1000);
}
