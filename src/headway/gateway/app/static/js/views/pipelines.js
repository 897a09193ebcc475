/** Pipelines over the window; and one of them with its steps and its runs. */

import { age } from "../core/ages.js";
import { h } from "../core/dom.js";
import { count, dollars, percent, seconds } from "../core/format.js";
import { link } from "../core/place.js";
import { meter } from "../charts/meter.js";
import { badge } from "../parts/badge.js";
import { card } from "../parts/card.js";
import { codeBlock } from "../parts/copy.js";
import { notice } from "../parts/notice.js";
import { Table } from "../parts/table.js";
import { Loaded } from "./loaded.js";

/** @typedef {import("../core/types.js").PipelineLine} PipelineLine */
/** @typedef {import("../core/types.js").RunLine} RunLine */
/** @typedef {import("../core/types.js").Filters} Filters */
/** @typedef {import("../core/api.js").ApiError} ApiError */

const EXAMPLE = `import headway

@headway.step
async def facts(topic: str) -> str:
    return await headway.ask(f"Three facts about {topic}.", model="gpt-5.4-mini")

@headway.pipeline
async def article(topic: str):
    return facts(topic)

print(article.run_sync("tides"))`;

/** How a run ended. @param {string} outcome */
export function outcomeBadge(outcome) {
  return badge(outcome, outcome === "ok" ? "ok" : hasFailed(outcome) ? "bad" : "plain");
}

/** @param {string} outcome */
const hasFailed = (outcome) => !["ok", "running", "cancelled"].includes(outcome);

export class PipelinesView {
  title = "Pipelines";
  windowOnly = true;

  /** @param {(error: ApiError) => boolean} refused */
  constructor(refused) {
    this._window_s = 900;
    this._table = new Table({
      label: "Pipelines",
      empty: "",
      key: (/** @type {PipelineLine} */ line) => line.pipeline,
      columns: [
        {
          label: "Pipeline",
          value: (line) => line.pipeline,
          draw: (cell, line) =>
            cell.replaceChildren(h("a", { class: "strong", href: link("pipelines", line.pipeline) }, line.pipeline)),
        },
        { label: "Runs", value: (line) => count(line.runs), numeric: true },
        { label: "Failed", value: (line) => count(line.failed), numeric: true },
        { label: "p50", value: (line) => seconds(line.total.p50_s), numeric: true },
        { label: "p95", value: (line) => seconds(line.total.p95_s), numeric: true, level: 2 },
        { label: "p99", value: (line) => seconds(line.total.p99_s), numeric: true, level: 4 },
        { label: "Cost", value: (line) => dollars(line.dollars), numeric: true, level: 2 },
        {
          label: "Last run",
          value: (line) => line.last_run,
          level: 2,
          draw: (cell, line) =>
            cell.replaceChildren(line.last_run ? h("a", { href: link("runs", line.last_run) }, "waterfall") : "–"),
        },
      ],
    });
    this._card = card("Pipelines", {}, this._table.element);
    this._none = notice(
      "No pipeline ran in this window",
      "A pipeline's runs appear here when its program writes into the same call log as this gateway: on the same machine, by the same user.",
      codeBlock(EXAMPLE, "the example"),
    );
    this._card.hidden = this._none.hidden = true;
    this._loaded = new Loaded(
      () => `/pipelines?window_s=${this._window_s}`,
      (found) => this._show(found),
      refused,
    );
    this.element = h("div", { class: "stack" }, this._loaded.element, this._card, this._none);
  }

  /** @param {Filters} filters */
  open({ window_s }) {
    this._window_s = window_s;
    this._loaded.ask();
  }

  close() {
    this._loaded.end();
  }

  /** @param {{pipelines: PipelineLine[]}} found */
  _show({ pipelines }) {
    this._card.hidden = pipelines.length === 0;
    this._none.hidden = pipelines.length > 0;
    this._table.update(pipelines);
  }
}

/** @param {HTMLElement} cell @param {Record<string, any>} step */
function drawCritical(cell, step) {
  const bar = meter(`${step.step}: share of time on the critical path`, false);
  bar.update(step.path_share ?? null);
  cell.replaceChildren(bar.element);
}

export class PipelineView {
  windowOnly = true;

  /** @param {string} name @param {(error: ApiError) => boolean} refused */
  constructor(name, refused) {
    this.title = `Pipeline ${name}`;
    this._window_s = 900;
    this._runs = new Table({
      label: "Runs",
      empty: "No runs are in the log.",
      key: (/** @type {RunLine} */ run) => run.run,
      mark: (run) => (hasFailed(run.outcome) ? "failed" : ""),
      columns: [
        {
          label: "When",
          value: (run) => run.run,
          draw: (cell, run) => cell.replaceChildren(h("a", { href: link("runs", run.run) }, age(run.start_wall_s))),
        },
        {
          label: "Result",
          value: (run) => run.outcome,
          draw: (cell, run) => cell.replaceChildren(outcomeBadge(run.outcome)),
        },
        { label: "Took", value: (run) => seconds(run.total_s), numeric: true },
        { label: "Cost", value: (run) => dollars(run.dollars), numeric: true },
        { label: "Run", value: (run) => run.run, level: 2 },
      ],
    });
    this._steps = new Table({
      label: "Steps",
      empty: "No steps in this window.",
      key: (/** @type {Record<string, any>} */ step) => String(step.step),
      columns: [
        { label: "Step", value: (step) => String(step.step) },
        { label: "Runs", value: (step) => count(step.runs), numeric: true },
        { label: "p50", value: (step) => seconds(step.p50_s), numeric: true },
        { label: "p95", value: (step) => seconds(step.p95_s), numeric: true },
        { label: "Cost", value: (step) => dollars(step.dollars), numeric: true, level: 2 },
        {
          label: "On the critical path",
          value: (step) => percent(step.path_share),
          draw: drawCritical,
          title: "Share of the runs' time that hung on this step",
        },
      ],
    });
    const back = h("p", {}, h("a", { href: link("pipelines") }, "← Pipelines"));
    const query = new URLSearchParams({ pipeline: name });
    this._overview = new Loaded(
      () => `/pipelines?window_s=${this._window_s}`,
      ({ pipelines }) =>
        this._steps.update(pipelines.find((/** @type {PipelineLine} */ one) => one.pipeline === name)?.steps ?? []),
      refused,
    );
    this._list = new Loaded(
      () => `/runs?${query}`,
      ({ runs }) => this._runs.update(runs),
      refused,
    );
    this.element = h(
      "div",
      { class: "stack" },
      back,
      card(`Steps of ${name}`, {}, this._overview.element, this._steps.element),
      card("Runs", {}, this._list.element, this._runs.element),
    );
  }

  /** @param {Filters} filters */
  open({ window_s }) {
    this._window_s = window_s;
    this._overview.ask();
    this._list.ask();
  }

  close() {
    this._overview.end();
    this._list.end();
  }
}
