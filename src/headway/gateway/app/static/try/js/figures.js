/** What an answer took: to its first word, tokens a second, money, and where it came from. */

import { count, dollars, rate, seconds } from "../../js/core/format.js";
import { tile } from "../../js/parts/tile.js";

const CACHE = /** @type {Record<string, [string, string]>} */ ({
  off: ["off", "asked upstream"],
  miss: ["asked", "nothing was kept"],
  refresh: ["asked", "anew, as wished"],
  memory: ["hit", "kept in memory"],
  sqlite: ["hit", "kept on disk"],
  redis: ["hit", "kept in Redis"],
  joined: ["joined", "an equal call"],
  stale: ["stale", "an old answer"],
});

/** @param {number | null | undefined} value_ms */
const ms = (value_ms) => seconds(value_ms === null || value_ms === undefined ? null : value_ms / 1000);

/** @param {Element} place */
export function figures(place) {
  const first = tile("First word", "From the question to the first piece of the answer, as the gateway saw it");
  const speed = tile("Tokens/s", "Tokens of the answer a second, from its first word on");
  const tokens = tile("Tokens", "Of the answer, and of the question");
  const cost = tile("Cost", "In US dollars, by the published prices");
  const cache = tile("Cache", "Whether the provider was asked");
  const tiles = [first, speed, tokens, cost, cache];
  place.append(...tiles.map((one) => one.element));
  return {
    clear: () => tiles.forEach((one) => one.update("–", [])),
    /** @param {number} value_s Before the gateway has said its own. */
    begun: (value_s) => first.update(seconds(value_s), []),
    /** @param {any} took */
    show(took) {
      const { usage } = took;
      const told_s = (took.total_ms - took.ttft_ms) / 1000;
      const about = usage?.estimated ? "about " : "";
      first.update(ms(took.ttft_ms), took.total_ms === undefined ? [] : [`${ms(took.total_ms)} in all`]);
      speed.update(usage && took.ttft_ms !== null && told_s > 0.001 ? rate(usage.output_tokens / told_s) : "–", []);
      tokens.update(usage ? `${about}${count(usage.output_tokens)}` : "–", usage ? [`${count(usage.input_tokens)} asked`] : []);
      cost.update(dollars(took.dollars), took.saved_dollars ? [`${dollars(took.saved_dollars)} saved`] : []);
      const [word, more] = CACHE[took.cache] ?? [took.cache || "–", ""];
      cache.update(word, [more], word === "hit" ? "good" : "");
    },
  };
}
