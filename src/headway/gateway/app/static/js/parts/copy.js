/** Text to take along, with a button that does it. */

import { h, icon, say } from "../core/dom.js";
import { announce } from "../core/said.js";

const SHEETS =
  "M5.5 5.500V3.500a1 1 0 0 1 1-1h6a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1h-2M3.500 5.500h6a1 1 0 0 1 1 1v6a1 1 0 0 1-1 1h-6a1 1 0 0 1-1-1v-6a1 1 0 0 1 1-1z";

/** @param {string} text @param {string} what Its name: "the base URL". */
export function copyButton(text, what) {
  const word = h("span", {}, "Copy");
  const button = h(
    "button",
    { type: "button", class: "quiet small", "aria-label": `Copy ${what}` },
    icon(SHEETS),
    word,
  );
  button.addEventListener("click", async () => {
    const done = await copied(text);
    say(word, done ? "Copied" : "Select it and press Ctrl-C");
    announce(done ? `Copied ${what}` : `${what} could not be copied; select it`);
    setTimeout(() => say(word, "Copy"), 2000);
  });
  return button;
}

/** @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // no permission, or plain HTTP from another machine, where browsers have no clipboard
  }
}

/** A block of code with its button. @param {string} text @param {string} what */
export function codeBlock(text, what) {
  return h("div", { class: "code" }, h("pre", { tabindex: 0 }, h("code", {}, text)), copyButton(text, what));
}
