/** What to do first: shown as long as there is nothing to show, and gone with the first call. */

import { h } from "../core/dom.js";
import { span } from "../core/format.js";
import { isFiltered } from "../core/place.js";
import { codeBlock, copyButton } from "../parts/copy.js";
import { tabs } from "../parts/tabs.js";

/** @typedef {import("../core/types.js").Overview} Overview */

const MODEL = "gpt-5.4-mini";

/** @param {string} base @param {boolean} needsKey */
function examples(base, needsKey) {
  const key = needsKey ? "hw-..." : "any";
  return [
    {
      name: "curl",
      code: `curl ${base}/v1/chat/completions \\
  -H 'content-type: application/json' \\
${needsKey ? `  -H "authorization: Bearer ${key}" \\\n` : ""}  -d '{"model": "${MODEL}", "messages": [{"role": "user", "content": "Hello"}]}'`,
    },
    {
      name: "Python",
      code: `from openai import OpenAI

client = OpenAI(base_url="${base}/v1", api_key="${key}")
answer = client.responses.create(model="${MODEL}", input="Hello")
print(answer.output_text)`,
    },
    {
      name: "JavaScript",
      code: `import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${base}/v1", apiKey: "${key}" });
const answer = await client.responses.create({ model: "${MODEL}", input: "Hello" });
console.log(answer.output_text);`,
    },
    { name: "Any program", code: `export OPENAI_BASE_URL=${base}/v1\nexport ANTHROPIC_BASE_URL=${base}` },
  ];
}

export class StartCard {
  /** @param {boolean} needsKey Whether callers need one of the gateway's keys. */
  constructor(needsKey) {
    const base = location.origin;
    const { list, panels } = tabs(
      "Example for",
      examples(base, needsKey).map(({ name, code }) => ({ name, panel: codeBlock(code, `the ${name} example`) })),
    );
    this._first = h(
      "div",
      {},
      h("p", {}, "Point a client at this gateway, and its calls appear here as they end. Its base URL:"),
      h("p", { class: "base-url" }, h("code", {}, `${base}/v1`), copyButton(`${base}/v1`, "the base URL")),
      h("div", { class: "example" }, list, panels),
      needsKey
        ? h("p", {}, "The API key is one of this gateway's: ", h("code", {}, "headway keys create NAME"), " makes one.")
        : h("p", { class: "faint" }, "It takes any API key, for it has no keys of its own."),
    );
    this._title = h("h2");
    this._text = h("p");
    this._wider = h("a", { class: "button", href: "#/overview?window=604800" }, "Look at the last 7 days");
    this._filtered = h("div", {}, this._text, this._wider);
    this.element = h("section", { class: "card start" }, this._title, this._filtered, this._first);
  }

  /** @param {Overview} overview */
  isNeeded({ totals, log }) {
    return totals.calls === 0 && log !== "off";
  }

  /** @param {Overview} overview */
  update({ filters, log, choices }) {
    const window = span(filters.window_s);
    const wasUsed = choices.models.length > 0 || choices.routes.length > 0;
    const filtered = isFiltered(filters);
    this._title.textContent = filtered
      ? "Nothing passes these filters"
      : log === "loading"
        ? "Reading the call log …"
        : `No calls in the last ${window}`;
    this._text.textContent = filtered
      ? `No call of the last ${window} passes them. Choose others, or a longer window.`
      : "";
    this._text.hidden = !filtered;
    this._filtered.hidden = !filtered && !wasUsed;
    this._wider.hidden = filters.window_s === 604_800 || !(filtered || wasUsed);
    this._first.hidden = filtered;
  }
}
