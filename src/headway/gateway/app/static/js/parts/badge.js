/** Small words with a colour; the word says it all without the colour. */

import { h } from "../core/dom.js";

/** @typedef {import("../core/types.js").CallLine} CallLine */

/** @param {string} text @param {"ok" | "warn" | "bad" | "plain"} tone */
export const badge = (text, tone) => h("span", { class: `badge ${tone}` }, text);

/** Whether a call failed: its client got no whole answer, and had not left by itself. @param {{outcome: string}} call */
export const isFailed = ({ outcome }) => outcome !== "ok" && outcome !== "abandoned" && outcome !== "";

/** How a call ended, short. @param {CallLine} call */
export function endOf(call) {
  if (call.outcome === "") return "under way";
  const status = call.status === null ? "" : `${call.status} `;
  return call.outcome === "ok" ? String(call.status ?? "ok") : `${status}${call.outcome.replaceAll("_", " ")}`;
}

/** The same as a badge; beside a status, the word is left out where there is no room. @param {CallLine} call */
export function endBadge(call) {
  const element = badge("", isFailed(call) ? "bad" : call.outcome === "ok" ? "ok" : "plain");
  const [first, ...rest] = endOf(call).split(" ");
  if (call.status === null) element.append(endOf(call));
  else element.append(h("span", {}, first), " ", h("span", { class: "level-2" }, rest.join(" ")));
  return element;
}

/** A breaker's state in words that need no manual. @param {string} state */
export function breakerBadge(state) {
  if (state === "closed") return badge("closed", "ok");
  return badge(state, state === "open" ? "bad" : "warn");
}
