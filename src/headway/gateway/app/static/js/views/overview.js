/** The first page: how it goes now, and how it went over the window. */

import { h } from "../core/dom.js";
import { link } from "../core/place.js";
import { CallList } from "../parts/call-list.js";
import { card } from "../parts/card.js";
import { loading } from "../parts/notice.js";
import { OverviewCharts } from "./overview-charts.js";
import { Figures } from "./overview-figures.js";
import { MoneyCard } from "./overview-money.js";
import { TiersCard } from "./overview-tiers.js";
import { UpstreamsCard } from "./overview-upstreams.js";
import { StartCard } from "./start.js";

/** @typedef {import("../core/types.js").Overview} Overview */

export class OverviewView {
  title = "Overview";

  /** @param {boolean} needsKey Whether callers need one of the gateway's keys. @param {(wanted: boolean) => void} failedOnly */
  constructor(needsKey, failedOnly) {
    this._calls = new CallList({ limit: 20, paged: false, failedOnly });
    this._start = new StartCard(needsKey);
    const calls = card(
      "Last calls",
      { tools: [this._calls.failedOnly, h("a", { class: "button quiet", href: link("calls") }, "All calls")] },
      this._calls.element,
    );
    this._parts = [
      new Figures(),
      this._start,
      new OverviewCharts(),
      new UpstreamsCard(),
      new TiersCard(),
      new MoneyCard(),
      this._calls,
    ];
    const [figures, start, charts, upstreams, tiers, money] = this._parts;
    this._history = h(
      "div",
      { class: "stack" },
      charts.element,
      upstreams.element,
      h("div", { class: "pair" }, money.element, tiers.element),
      calls,
    );
    this._waiting = h("div", { class: "card" }, loading(8));
    this._history.hidden = start.element.hidden = true;
    this.element = h("div", { class: "stack" }, figures.element, this._waiting, start.element, this._history);
  }

  /** @param {Overview} overview */
  update(overview) {
    for (const part of this._parts) part.update(overview);
    this._waiting.hidden = true;
    const isEmpty = this._start.isNeeded(overview);
    this._start.element.hidden = !isEmpty;
    this._history.hidden = isEmpty;
  }

  toggleFailed() {
    this._calls.toggleFailed();
  }

  /** @param {boolean} only */
  showFailed(only) {
    this._calls.showFailed(only);
  }
}
