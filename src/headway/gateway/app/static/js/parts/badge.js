/** Small words with a colour; the word says it all without the colour. */

import { h } from "../core/dom.js";

/** @typedef {import("../core/types.js").CallLine} CallLine */
/** @typedef {import("../core/types.js").UpstreamLine} UpstreamLine */

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

const BREAKERS = /** @type {Record<string, "ok" | "warn" | "bad">} */ ({ closed: "ok", "half-open": "warn", open: "bad" });

/** A breaker's state; it is not green where the last tries failed. @param {UpstreamLine} line */
export function breakerBadge({ breaker, last, last_failed }) {
  const word = breaker || "none";
  if (breaker !== "open" && last > 0 && last_failed === last) {
    return badge(`${word === "none" ? "" : `${word}, `}last ${last} failed`, "bad");
  }
  return badge(word, BREAKERS[breaker] ?? "plain");
}
