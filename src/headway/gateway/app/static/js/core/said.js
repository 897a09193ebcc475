/** Words for those who hear the page: few, and only about what they did or must know. */

import { say } from "./dom.js";

/** @param {string} text */
export function announce(text) {
  const place = document.getElementById("said");
  if (place) say(place, text);
}
