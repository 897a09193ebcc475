/** What is said instead of figures. */

import { h } from "../core/dom.js";

/** @param {string} title @param {string} text @param {...(Node | null)} more */
export function notice(title, text, ...more) {
  return h("div", { class: "card notice" }, h("h2", {}, title), h("p", {}, text), ...more);
}

/** A line across the page. @param {string} text @param {"warn" | "bad" | "plain"} tone @param {...(Node | null)} more */
export function banner(text, tone, ...more) {
  return h("div", { class: `banner ${tone}`, role: tone === "bad" ? "alert" : "note" }, h("span", {}, text), ...more);
}

/** Grey bars where figures will stand. @param {number} [lines] */
export function loading(lines = 3) {
  const bars = Array.from({ length: lines }, () => h("i"));
  return h("div", { class: "loading", role: "status" }, h("span", { class: "unseen" }, "Loading"), ...bars);
}
