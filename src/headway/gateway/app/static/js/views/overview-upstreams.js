/** Who answers: tries, first tokens, breakers, and how much of each limit is used. */

import { h } from "../core/dom.js";
import { count, host, percent, seconds, short } from "../core/format.js";
import { meter } from "../charts/meter.js";
import { breakerBadge } from "../parts/badge.js";
import { card } from "../parts/card.js";
import { Table } from "../parts/table.js";

/** @typedef {import("../core/types.js").Overview} Overview */
/** @typedef {import("../core/types.js").UpstreamLine} UpstreamLine */
/** @typedef {import("../core/types.js").LimitUse} LimitUse */

const LIMITS_SHOWN = 6;

/** @param {HTMLElement} cell @param {UpstreamLine} line */
function drawName(cell, { name, origin }) {
  const more = host(origin) === host(name) ? "" : host(origin);
  cell.replaceChildren(
    h("span", { class: "clip strong" }, host(name)),
    more && h("span", { class: "clip faint level-2" }, more),
  );
}

/** @param {LimitUse} limit */
function drawLimit({ scope, kind, per_min, share, learned }) {
  const unit = `${kind.replace("_", " ")}/min`;
  const what = `${scope ? `${scope}, ` : ""}${unit}`;
  const bar = meter(`${what} used`);
  bar.update(share);
  return h(
    "li",
    {
      title: `${what}: ${percent(share)} of ${count(per_min)} used; ${learned ? "the provider says so" : "by configuration"}`,
    },
    h("span", { class: "clip" }, `${scope ? `${scope} ` : ""}${per_min === null ? unit : `${short(per_min)} ${unit}`}`),
    bar.element,
  );
}

/** @param {HTMLElement} cell @param {UpstreamLine} line */
function drawLimits(cell, { limits }) {
  if (limits.length === 0) {
    cell.replaceChildren(h("span", { class: "faint" }, "none known yet"));
    return;
  }
  const rest = limits.length - LIMITS_SHOWN;
  const more = rest > 0 ? h("li", { class: "faint" }, `and ${rest} more, used less`) : null;
  cell.replaceChildren(h("ul", { class: "limits" }, ...limits.slice(0, LIMITS_SHOWN).map(drawLimit), more));
}

export class UpstreamsCard {
  constructor() {
    this._table = new Table({
      label: "Upstreams",
      empty: "No upstream has been asked yet.",
      key: (/** @type {UpstreamLine} */ line) => `${line.name} ${line.origin}`,
      columns: [
        { label: "Upstream", value: (line) => `${line.name} ${line.origin}`, draw: drawName },
        {
          label: "Breaker",
          value: (line) => breakerBadge(line).textContent ?? "",
          draw: (cell, line) => cell.replaceChildren(breakerBadge(line)),
          title: "Open: nothing is sent there for a while, since it failed too often. None: nothing else could answer",
        },
        { label: "Tries", value: (line) => count(line.attempts), numeric: true, level: 2 },
        { label: "Failed", value: (line) => count(line.failed), numeric: true, level: 2 },
        { label: "429s", value: (line) => count(line.throttled), numeric: true, level: 2 },
        { label: "Queued", value: (line) => count(line.queued), numeric: true, level: 3 },
        { label: "TTFT p50", value: (line) => seconds(line.ttft.p50_s), numeric: true, level: 2 },
        { label: "p95", value: (line) => seconds(line.ttft.p95_s), numeric: true, level: 4 },
        { label: "p99", value: (line) => seconds(line.ttft.p99_s), numeric: true, level: 5 },
        {
          label: "Limits used",
          value: (line) => JSON.stringify(line.limits),
          draw: drawLimits,
          title: "Of what the provider allows a minute, as learned from its answers",
        },
      ],
    });
    this.element = card(
      "Upstreams",
      { note: "Tries over the window; queues, limits and breakers now" },
      this._table.element,
    );
  }

  /** @param {Overview} overview */
  update({ upstreams }) {
    this._table.update(upstreams);
  }
}
