/** A box with a heading. */

import { h, newId } from "../core/dom.js";

/**
 * @param {string} title
 * @param {{note?: string, tools?: (Node | null)[], kind?: string}} options `note`: what it means, for who points at it.
 * @param {...(Node | null)} children
 */
export function card(title, { note, tools = [], kind = "" }, ...children) {
  const id = newId("card");
  return h(
    "section",
    { class: `card ${kind}`.trim(), "aria-labelledby": id },
    h(
      "div",
      { class: "card-head" },
      h("h2", { id, title: note ?? false }, title),
      h("span", { class: "tools" }, ...tools),
    ),
    ...children,
  );
}
