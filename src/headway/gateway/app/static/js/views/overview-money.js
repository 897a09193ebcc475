/** Dollars by key, by model, and by what the engine did. */

import { h } from "../core/dom.js";
import { count, dollars } from "../core/format.js";
import { named } from "../core/keys.js";
import { card } from "../parts/card.js";
import { Table } from "../parts/table.js";
import { tabs } from "../parts/tabs.js";

/** @typedef {import("../core/types.js").Overview} Overview */
/** @typedef {import("../core/types.js").Spent} Spent */
/** @typedef {import("../core/types.js").Layer} Layer */

/** @param {string} what */
function spentTable(what) {
  return new Table({
    label: `Dollars by ${what.toLowerCase()}`,
    empty: "Nothing spent in this window.",
    key: (/** @type {Spent} */ line) => line.id,
    columns: [
      { label: what, value: (line) => line.name || line.id || "–", draw: drawName },
      { label: "Calls", value: (line) => count(line.calls), numeric: true },
      { label: "Spent", value: (line) => dollars(line.dollars), numeric: true },
      { label: "Saved", value: (line) => dollars(line.saved_dollars), numeric: true, level: 2 },
      { label: "Wasted", value: (line) => dollars(line.wasted_dollars), numeric: true, level: 2 },
    ],
  });
}

/** @param {HTMLElement} cell @param {Spent} line */
function drawName(cell, { id, name }) {
  cell.replaceChildren(h("span", { class: "clip", title: id || false }, name || id || "–"));
}

export class MoneyCard {
  constructor() {
    this._keys = spentTable("Key");
    this._models = spentTable("Model");
    this._layers = new Table({
      label: "Dollars by layer of the engine",
      empty: "No layer saved or wasted anything in this window.",
      key: (/** @type {Layer} */ line) => line.layer,
      columns: [
        { label: "Layer", value: (line) => line.layer },
        { label: "Count", value: (line) => count(line.count), numeric: true },
        { label: "Saved", value: (line) => dollars(line.saved_dollars), numeric: true },
        {
          label: "Wasted",
          value: (line) => dollars(line.wasted_dollars),
          numeric: true,
          title: "Paid for tries that did not answer",
        },
      ],
    });
    const { list, panels } = tabs("Dollars by", [
      { name: "Model", panel: this._models.element },
      { name: "Key", panel: this._keys.element },
      { name: "Layer", panel: this._layers.element },
    ]);
    this.element = card("Where the dollars went", { tools: [list] }, panels);
  }

  /** @param {Overview} overview */
  update({ money }) {
    this._keys.update(named(money.by_key));
    this._models.update(money.by_model);
    this._layers.update(money.by_layer);
  }
}
