/** The name and its sign. */

import { h, s } from "../core/dom.js";

export function brand() {
  return h(
    "span",
    { class: "brand" },
    s(
      "svg",
      { viewBox: "0 0 32 32", "aria-hidden": "true" },
      s("rect", { width: 32, height: 32, rx: 8 }),
      s("path", { d: "M9 8v16M23 8v16M9 16h10M16 12l4 4-4 4" }),
    ),
    "Headway",
  );
}
