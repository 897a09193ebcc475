/** One question by `POST /stream`. */

import { events } from "./events.js";

/** @typedef {import("./main.js").How} How */
/** @typedef {import("./main.js").Show} Show */

/**
 * Ask, and show what comes; it never throws.
 *
 * @param {string} prompt
 * @param {How} how
 * @param {Show} show
 * @param {AbortSignal} signal
 */
export async function ask(prompt, how, show, signal) {
  const { key, ...rest } = how;
  /** @type {Record<string, string>} */
  const headers = { accept: "text/event-stream", "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  try {
    const answer = await fetch("/stream", {
      method: "POST", headers, signal, cache: "no-store", body: JSON.stringify({ prompt, ...rest }),
    });
    if (!answer.body || !answer.ok) {
      show.failed((await answer.json()).error?.message ?? `The gateway answered ${answer.status}.`);
      return;
    }
    for await (const { name, data } of events(answer.body)) {
      if (name === "done") show.done(data);
      else if (name === "error") show.failed(data.message);
      else show.token(data.text);
    }
  } catch {
    if (signal.aborted) show.stopped({});
    else show.failed("The gateway does not answer. Is `headway serve` still running?");
  }
}
