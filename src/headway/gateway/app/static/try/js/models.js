/** What may be asked: the gateway's own list of models, as proposals. */

import { h } from "../../js/core/dom.js";

const MODELS_MAX = 500;

/** Propose models; without a list (no key yet, a provider that is down) the field is as good. @param {string} [key] */
export async function offerModels(key) {
  const headers = key ? { authorization: `Bearer ${key}` } : undefined;
  try {
    const answer = await fetch("/v1/models", { headers });
    if (!answer.ok) return;
    const { data } = await answer.json();
    const names = data.map((/** @type {{id: string}} */ one) => String(one.id)).slice(0, MODELS_MAX);
    document.getElementById("models")?.replaceChildren(...names.map((/** @type {string} */ value) => h("option", { value })));
  } catch {
    // nothing is proposed
  }
}
