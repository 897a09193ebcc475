/** One figure, large, with what it means and what else belongs to it. */

import { h, say, set } from "../core/dom.js";

/** @param {string} label @param {string} note What it is exactly, for who points at it. @param {Element} [extra] */
export function tile(label, note, extra) {
  const figure = h("span", { class: "tile-figure num" }, "–");
  const more = h("span", { class: "tile-more num" });
  const element = h(
    "div",
    { class: "tile", title: note },
    h("span", { class: "tile-label" }, label),
    figure,
    more,
    extra,
  );
  return {
    element,
    /** @param {string} value @param {string[]} beside Each stays on one line. @param {"" | "bad" | "good" | "warn"} [tone] */
    update(value, beside, tone = "") {
      say(figure, value);
      figure.style.setProperty("--chars", String(value.length)); // so that it is as large as there is room
      while (more.children.length < beside.length) more.append(h("span"));
      beside.forEach((text, index) => say(more.children[index], text));
      set(element, "class", `tile ${tone}`.trim());
    },
  };
}
