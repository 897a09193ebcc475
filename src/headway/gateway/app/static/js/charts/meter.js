/** How much of something is used, as a bar with its figure. */

import { h, say, set } from "../core/dom.js";
import { percent } from "../core/format.js";

/** @param {number} share */
const toneOf = (share) => (share >= 0.95 ? "bad" : share >= 0.8 ? "warn" : "");

/**
 * A meter that can be told another share.
 *
 * @param {string} label What it measures, for those who hear it.
 * @param {boolean} [judged] Whether much is bad.
 */
export function meter(label, judged = true) {
  const bar = h("i");
  const figure = h("span", { class: "num" });
  const track = h(
    "span",
    {
      class: "track",
      role: "meter",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": 0,
    },
    bar,
  );
  const element = h("span", { class: "meter" }, track, figure);
  return {
    element,
    /** @param {number | null} share @param {string} [text] */
    update(share, text = percent(share)) {
      const used = Math.max(0, Math.min(1, share ?? 0));
      bar.style.setProperty("inline-size", `${(used * 100).toFixed(1)}%`);
      set(bar, "class", judged ? toneOf(used) : "");
      set(track, "aria-valuenow", Math.round(used * 100));
      set(track, "aria-valuetext", text);
      say(figure, text);
    },
  };
}
