/** The gateway's keys: what each may do, and what it has spent. */

import { age } from "../core/ages.js";
import { h } from "../core/dom.js";
import { count, day, dollars, moment, short } from "../core/format.js";
import { meter } from "../charts/meter.js";
import { badge } from "../parts/badge.js";
import { card } from "../parts/card.js";
import { codeBlock } from "../parts/copy.js";
import { notice } from "../parts/notice.js";
import { Table } from "../parts/table.js";
import { Loaded } from "./loaded.js";

/** @typedef {import("../core/types.js").KeyLine} KeyLine */
/** @typedef {import("../core/api.js").ApiError} ApiError */

/** Spent, of what may be spent. @param {HTMLElement} cell @param {string} name @param {number} spent @param {number | null} cap */
function drawSpent(cell, name, spent, cap) {
  if (cap === null) {
    cell.textContent = dollars(spent);
    return;
  }
  const bar = meter(`${name}: share of its cap`);
  bar.update(cap > 0 ? spent / cap : 1, `${dollars(spent)} of ${dollars(cap)}`);
  cell.replaceChildren(bar.element);
}

const isUsable = (/** @type {KeyLine} */ key) => key.state === "stands";

/** @param {KeyLine} key */
const modelsOf = ({ models }) => (models.length === 0 || models.includes("*") ? "all models" : models.join(", "));

/** What a key may ask for when nothing else is said; not worth a word. Source: PATHS of headway/policy/keys.py. */
const USUAL =
  "/v1/chat/completions, /v1/completions, /v1/embeddings, /v1/messages, /v1/messages/count_tokens, /v1/models, /v1/models/*, /v1/responses";

/** @param {KeyLine} key */
const pathsOf = ({ paths }) => {
  const all = paths.join(", ");
  return all === USUAL ? "" : all === "*" ? "all paths" : all;
};

const PRIORITIES = /** @type {Record<string, string>} */ ({ "-1": "low", 0: "normal", 1: "high" });

const priorityOf = (/** @type {number} */ priority) => PRIORITIES[priority] ?? String(priority);

/** @param {HTMLElement} cell @param {KeyLine} key */
function drawRights(cell, key) {
  const [models, paths] = [modelsOf(key), pathsOf(key)];
  cell.replaceChildren(
    h("span", { class: "clip", title: models }, models),
    paths && h("span", { class: "clip faint", title: paths }, paths),
  );
}

/** @param {HTMLElement} cell @param {KeyLine} key @param {Map<string, string>} names */
function drawName(cell, key, names) {
  cell.replaceChildren(
    h("span", { class: "clip strong", title: key.name }, key.name),
    key.admin ? badge("admin", "plain") : "",
    h("code", { class: "faint level-2" }, key.id),
    key.parent && h("span", { class: "clip faint", title: key.parent }, `below ${names.get(key.parent) ?? key.parent}`),
  );
}

/** @param {HTMLElement} cell @param {KeyLine} key */
function drawState(cell, key) {
  const usable = isUsable(key);
  const word = badge(usable ? "usable" : key.state, usable ? "ok" : "plain");
  if (key.expires_wall_s === null) {
    cell.replaceChildren(word);
    return;
  }
  const ends = h("span", { class: "clip faint" }, `${usable ? "until" : "ended"} ${day(key.expires_wall_s)}`);
  cell.replaceChildren(word, key.state === "revoked" ? "" : ends);
  cell.title = moment(key.expires_wall_s);
}

/** The last twelve months, the latest first: "2026-11". */
function months() {
  const now = new Date();
  return Array.from({ length: 12 }, (_, back) =>
    new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)).toISOString().slice(0, 7),
  );
}

/** @returns {HTMLElement} */
function csvLink() {
  const link = h("a", { class: "button quiet", download: true }, "Spend as CSV");
  const month = h("select", { "aria-label": "Month of the spend" }, ...months().map((one) => h("option", {}, one)));
  const aim = () => link.setAttribute("href", `/api/keys/spend.csv?month=${month.value}`);
  month.addEventListener("change", aim);
  aim();
  return h("span", { class: "line" }, month, link);
}

export class KeysView {
  title = "Keys";
  unfiltered = true;

  /** @param {(error: ApiError) => boolean} refused */
  constructor(refused) {
    /** @type {Map<string, string>} */
    this._names = new Map();
    this._table = new Table({
      label: "Keys",
      empty: "",
      key: (/** @type {KeyLine} */ key) => key.id,
      mark: (key) => (isUsable(key) ? "" : "ended"),
      columns: [
        {
          label: "Key",
          value: (key) => `${key.name} ${key.admin} ${this._names.get(key.parent)}`,
          draw: (cell, key) => drawName(cell, key, this._names),
        },
        { label: "State", value: (key) => `${key.state} ${key.expires_wall_s}`, draw: drawState },
        {
          label: "Models",
          value: (key) => `${modelsOf(key)} ${pathsOf(key)}`,
          draw: drawRights,
          level: 2,
          title: "Models and paths it may use",
        },
        {
          label: "Priority",
          value: (key) => priorityOf(key.priority),
          numeric: true,
          level: 4,
          title: "Higher ones go first where calls wait",
        },
        {
          label: "Requests/min",
          value: (key) => (key.requests_per_min === null ? "no limit" : count(key.requests_per_min)),
          numeric: true,
          level: 4,
        },
        {
          label: "Tokens/min",
          value: (key) => (key.tokens_per_min === null ? "no limit" : short(key.tokens_per_min)),
          numeric: true,
          level: 4,
        },
        {
          label: "Today",
          value: (key) => `${key.day_dollars} ${key.dollars_per_day}`,
          draw: (cell, key) => drawSpent(cell, `${key.name} today`, key.day_dollars, key.dollars_per_day),
          numeric: true,
          title: "Dollars since midnight UTC, and the day's cap. Answers that broke off count at their worst case",
        },
        {
          label: "This month",
          value: (key) => `${key.month_dollars} ${key.dollars_per_month}`,
          draw: (cell, key) => drawSpent(cell, `${key.name} this month`, key.month_dollars, key.dollars_per_month),
          numeric: true,
          level: 2,
          title: "Dollars since the month began (UTC), and its cap. Answers that broke off count at their worst case",
        },
        { label: "Requests", value: (key) => count(key.month_requests), numeric: true, level: 5, title: "This month" },
        {
          label: "Made",
          value: (key) => key.created_wall_s,
          draw: (cell, key) => cell.replaceChildren(age(key.created_wall_s)),
          level: 6,
        },
      ],
    });
    this._card = card(
      "Keys",
      { tools: [csvLink()], note: "Keys are made and revoked on the gateway's machine: headway keys" },
      h("div", { class: "keys" }, this._table.element),
    );
    this._none = notice(
      "This gateway has no keys",
      "Everybody on this machine may use it. A key of its own for each program says who asked and who spent; beyond this machine, the gateway serves with keys only. Make the first one, and one for this page:",
      codeBlock("headway keys create app --dollars-per-day 20\nheadway keys create me --admin", "the commands"),
    );
    this._card.hidden = this._none.hidden = true;
    this._loaded = new Loaded(
      () => "/keys",
      (found) => this._show(found.keys),
      refused,
    );
    this.element = h("div", { class: "stack" }, this._loaded.element, this._card, this._none);
  }

  open() {
    this._loaded.ask();
  }

  close() {
    this._loaded.end();
  }

  /** @param {KeyLine[]} keys */
  _show(keys) {
    this._card.hidden = keys.length === 0;
    this._none.hidden = keys.length > 0;
    this._names = new Map(keys.map(({ id, name }) => [id, name]));
    this._table.update(keys);
  }
}
