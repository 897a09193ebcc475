/** The keys that do something. */

import { h } from "../core/dom.js";

const SHORTCUTS = [
  ["1 … 4", "Overview, Calls, Pipelines, Keys"],
  ["/", "to the filters"],
  ["f", "failed calls only"],
  ["p", "hold the figures, or let them go on"],
  ["t", "light or dark"],
  ["↑ ↓  or  k j", "from row to row in a list"],
  ["← →", "along a chart that has the focus (Shift: ten steps)"],
  ["Enter", "open what has the focus"],
  ["Esc", "close a panel"],
  ["?", "this list"],
];

/** @returns {HTMLDialogElement} */
export function helpDialog() {
  const rows = SHORTCUTS.map(([keys, what]) => h("div", {}, h("dt", {}, h("kbd", {}, keys)), h("dd", {}, what)));
  return h(
    "dialog",
    { class: "help", "aria-label": "Keyboard shortcuts" },
    h(
      "form",
      { method: "dialog" },
      h("div", { class: "card-head" }, h("h2", {}, "Keyboard"), h("button", { class: "quiet" }, "Close")),
      h("dl", { class: "shortcuts" }, ...rows),
    ),
  );
}
