/** One call: how it ended, where its time went, its tries, and all that its record has. */

import { age } from "../core/ages.js";
import { h } from "../core/dom.js";
import { count, dollars, moment, seconds } from "../core/format.js";
import { keyName } from "../core/keys.js";
import { link } from "../core/place.js";
import { waterfall } from "../charts/waterfall.js";
import { endBadge, isFailed } from "../parts/badge.js";
import { copyButton } from "../parts/copy.js";
import { Table } from "../parts/table.js";

/** @typedef {import("../core/types.js").CallDetail} CallDetail */
/** @typedef {import("../core/types.js").CallLine} CallLine */

/** What outcomes mean, and what may be done. */
const MEANINGS = /** @type {Record<string, string>} */ ({
  throttled:
    "The provider answered 429 until no try or no time was left. Raise its limits, or add an upstream that stands in.",
  overloaded: "The provider had no room until no try or no time was left.",
  billing: "The provider's account has no money left.",
  auth: "The provider refused the gateway's own key. `headway doctor` tells more.",
  client_error: "The provider refused the request as it is; trying again would not help.",
  server_error: "The provider failed.",
  connect_failed: "The upstream could not be reached.",
  provider_timeout: "The provider took longer than it may.",
  connection_lost: "The connection broke before the whole answer was there.",
  bad_reply: "What the provider sent is no whole answer.",
  deadline: "The request's deadline passed.",
  budget: "No dollars were left under the budget.",
  queue_full: "The waiting line was full.",
  closed: "The gateway was ending.",
});

/** @param {string} name @param {Node | string} value */
const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", { class: "num" }, value));

/** @param {CallLine} call */
function facts(call) {
  const run = call.run ? h("a", { href: link("runs", call.run) }, call.step || call.run) : null;
  return h(
    "dl",
    { class: "facts" },
    fact("Total", seconds(call.total_s)),
    fact("First token", seconds(call.ttft_s)),
    fact("Waited here", seconds(call.wait_s)),
    fact("Tries", count(call.attempts)),
    fact("Tokens in", count(call.input_tokens)),
    fact("Tokens out", count(call.output_tokens)),
    fact("Cost", dollars(call.dollars)),
    fact("Cache", call.cache || "–"),
    fact("Key", keyName(call.key, call.key_name)),
    fact("Upstream", call.upstream || "–"),
    fact("Route", call.route || "–"),
    fact("Streamed", call.stream ? "yes" : "no"),
    run && fact("Step of a run", run),
  );
}

/** @param {CallLine} call */
function failure(call) {
  if (!isFailed(call)) return null;
  const code = call.error_code ? h("code", {}, call.error_code) : null;
  return h(
    "div",
    { class: "banner bad" },
    h(
      "span",
      {},
      h("strong", {}, call.outcome.replaceAll("_", " ")),
      call.status === null ? "" : ` · status ${call.status}`,
      code && " · ",
      code,
      h("br"),
      MEANINGS[call.outcome] ?? "",
    ),
  );
}

/** A value of the record, for people. @param {string} name @param {unknown} value */
function shown(name, value) {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "number" && name.endsWith("_wall_s")) return moment(value);
  if (typeof value === "number" && name.endsWith("_s")) return seconds(value);
  if (typeof value === "number" && name.endsWith("dollars")) return dollars(value);
  if (typeof value === "number") return Number.isInteger(value) ? count(value) : String(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** @param {Record<string, unknown>[]} attempts */
function tries(attempts) {
  const table = new Table({
    label: "Tries",
    empty: "No try was made: the answer was kept, shared, or refused.",
    key: (/** @type {Record<string, unknown>} */ one) => String(one.id),
    mark: (one) => (isFailed({ outcome: String(one.outcome ?? "") }) ? "failed" : ""),
    columns: [
      { label: "Try", value: (one) => Number(one.attempt_index ?? 0) + 1 },
      { label: "Upstream", value: (one) => shown("", one.upstream) },
      { label: "Result", value: (one) => `${one.status ?? ""} ${shown("", one.outcome)}`.trim().replaceAll("_", " ") },
      { label: "TTFT", value: (one) => shown("x_s", one.first_content_s), numeric: true },
      { label: "Took", value: (one) => shown("x_s", one.end_s), numeric: true },
      { label: "Cost", value: (one) => dollars(/** @type {number | null} */ (one.dollars)), numeric: true },
    ],
  });
  table.update(attempts);
  return table.element;
}

/** @param {string} title @param {...(Node | null)} children */
const part = (title, ...children) => h("section", { class: "part" }, h("h3", {}, title), ...children);

/** @param {CallDetail} detail @returns {HTMLElement} */
export function callDetail({ call, fields, attempts, spans }) {
  const record = Object.entries(fields).map(([name, value]) => fact(name, shown(name, value)));
  return h(
    "div",
    { class: "stack" },
    h(
      "p",
      { class: "line" },
      endBadge(call),
      h("span", { class: "faint" }, age(call.start_wall_s), ` · ${moment(call.start_wall_s)}`),
    ),
    failure(call),
    facts(call),
    spans.length ? part("Where the time went", waterfall(spans, { total_s: call.total_s })) : null,
    part("Tries", tries(attempts)),
    h("details", {}, h("summary", {}, "The whole record"), h("dl", { class: "record" }, ...record)),
    h(
      "p",
      { class: "line faint" },
      h("span", {}, "Call "),
      h("code", {}, call.id),
      copyButton(call.id, "the call's id"),
    ),
  );
}
