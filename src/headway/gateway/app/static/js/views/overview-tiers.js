/** Where answers came from. */

import { count, dollars } from "../core/format.js";
import { meter } from "../charts/meter.js";
import { card } from "../parts/card.js";
import { Table } from "../parts/table.js";

/** @typedef {import("../core/types.js").Overview} Overview */
/** @typedef {import("../core/types.js").Tier} Tier */

/** What the engine calls them, and what that means. */
const WORDS = /** @type {Record<string, [string, string]>} */ ({
  memory: ["Memory", "kept answers, in this process"],
  sqlite: ["Disk", "kept answers, shared by all workers"],
  redis: ["Redis", "kept answers, shared by all machines"],
  joined: ["Joined", "shared with an equal call that was under way"],
  stale: ["Stale", "an old answer, since no new one could be had"],
  "prompt cache": ["Prompt cache", "input tokens that the provider had kept"],
  miss: ["Upstream", "asked anew"],
});

/** @param {HTMLElement} cell @param {Tier} tier */
function drawShare(cell, { tier, share }) {
  const bar = meter(`share of ${tier}`, false);
  bar.update(share);
  cell.replaceChildren(bar.element);
}

export class TiersCard {
  constructor() {
    this._table = new Table({
      label: "Where answers came from",
      empty: "No calls in this window.",
      key: (/** @type {Tier} */ line) => line.tier,
      columns: [
        { label: "From", value: (line) => WORDS[line.tier]?.[0] ?? line.tier, draw: drawTier },
        { label: "Share", value: (line) => `${line.share}`, draw: drawShare },
        { label: "Count", value: (line) => count(line.count), numeric: true, level: 2 },
        { label: "Saved", value: (line) => dollars(line.saved_dollars), numeric: true },
      ],
    });
    this.element = card(
      "Where answers came from",
      { note: "Shares of the calls; the prompt cache's are of input tokens" },
      this._table.element,
    );
  }

  /** @param {Overview} overview */
  update({ tiers }) {
    this._table.update(tiers);
  }
}

/** @param {HTMLElement} cell @param {Tier} tier */
function drawTier(cell, { tier }) {
  const [name, meaning] = WORDS[tier] ?? [tier, ""];
  cell.textContent = name;
  cell.title = meaning;
}
