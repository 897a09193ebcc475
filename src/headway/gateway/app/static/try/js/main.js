/** The page to try `/stream` and `/chat`: what is typed goes there, what comes back is shown, with what it took. */

import { session } from "../../js/core/api.js";
import { h, say } from "../../js/core/dom.js";
import { brand } from "../../js/parts/brand.js";
import { ThemeButton } from "../../js/parts/theme-button.js";
import { figures } from "./figures.js";
import { offerModels } from "./models.js";
import { ask } from "./stream.js";
import { Talk } from "./talk.js";

/** @typedef {{key?: string, model?: string, system?: string, max_tokens?: number}} How */
/**
 * @typedef {{
 *   token: (text: string) => void, done: (took: any) => void, stopped: (took: any) => void,
 *   failed: (message: string) => void,
 * }} Show
 */

/** @template {HTMLElement} E @param {string} id @returns {E} */
const find = (id) => /** @type {E} */ (document.getElementById(id));

const prompt = /** @type {HTMLTextAreaElement} */ (find("prompt"));
const how = /** @type {HTMLFormElement} */ (find("how"));
const go = /** @type {HTMLButtonElement} */ (find("go"));
const stop = /** @type {HTMLButtonElement} */ (find("stop"));
const said = find("said");
const trouble = find("trouble");
const shown = figures(find("figures"));

/** @type {Talk | null} */
let talk = null;
/** @type {AbortController | null} */
let asking = null;

/** What the form says, without what it leaves open. @returns {How} */
function wishes() {
  /** @param {string} id */
  const value = (id) => /** @type {HTMLInputElement} */ (find(id)).value.trim();
  /** @type {How} */
  const found = {};
  if (value("key")) found.key = value("key");
  if (value("model")) found.model = value("model");
  if (value("system")) found.system = value("system");
  if (value("tokens")) found.max_tokens = Number(value("tokens"));
  return found;
}

const door = () => new FormData(how).get("door");

/** @param {boolean} busy */
function setBusy(busy) {
  go.disabled = busy;
  stop.disabled = !busy;
}

/** An answer's place on the page. @returns {Show} */
function turn() {
  const began_ms = performance.now();
  const text = document.createTextNode("");
  const place = h("p", { class: "turn speaking" }, text);
  said.append(place);
  let waiting = "";
  /** Once a frame at the most: a page that is laid out for every word falls behind a fast model. */
  const write = () => {
    if (!waiting) return;
    text.appendData(waiting);
    waiting = "";
    place.scrollIntoView({ block: "nearest" });
  };
  /** @param {string} [ended] */
  const end = (ended) => {
    write();
    place.className = ended ? "turn ended" : "turn";
    if (ended) place.dataset.end = ended;
    if (!text.data) place.remove();
    asking = null;
    setBusy(false);
  };
  return {
    token(piece) {
      if (!text.data && !waiting) shown.begun((performance.now() - began_ms) / 1000);
      if (!waiting) requestAnimationFrame(write);
      waiting += piece;
    },
    done(took) {
      shown.show(took);
      end(took.cut ? "cut at its bound" : "");
    },
    stopped(took) {
      if (took.usage) shown.show(took);
      end("stopped");
    },
    failed(message) {
      say(trouble, message);
      trouble.hidden = false;
      end("broken off");
    },
  };
}

/** @param {string} text */
function begin(text) {
  const wanted = wishes();
  trouble.hidden = true;
  shown.clear();
  if (door() === "stream") said.replaceChildren();
  said.append(h("p", { class: "turn mine" }, text));
  setBusy(true);
  const show = turn();
  if (door() === "stream") {
    asking = new AbortController();
    void ask(text, wanted, show, asking.signal);
    return;
  }
  if (!talk?.open) talk = new Talk(wanted);
  talk.say(text, wanted.model ?? "", show);
}

function forget() {
  asking?.abort();
  talk?.close();
  talk = null;
  said.replaceChildren();
  trouble.hidden = true;
  shown.clear();
  setBusy(false);
  prompt.focus();
}

/** The command that asks the same. */
function command() {
  const { key, ...wanted } = wishes();
  const words = ["curl -N -G", `${location.origin}/stream`];
  for (const [name, value] of Object.entries({ prompt: prompt.value.trim() || "Hello", ...wanted })) {
    words.push(`--data-urlencode ${quoted(`${name}=${value}`)}`);
  }
  if (key) words.push("-H 'Authorization: Bearer hw-…'");
  say(find("curl"), words.join(" "));
}

/** @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

find("brand").append(brand());
find("tools").append(new ThemeButton("Light or dark").element);
find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = prompt.value.trim();
  if (!text || go.disabled) return;
  begin(text);
  if (door() === "chat") prompt.value = "";
});
prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) /** @type {HTMLFormElement} */ (find("ask")).requestSubmit();
});
function halt() {
  if (asking) asking.abort();
  else if (!stop.disabled) talk?.cancel();
}

stop.addEventListener("click", halt);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") halt();
});
find("reset").addEventListener("click", forget);
how.addEventListener("submit", (event) => event.preventDefault());
how.addEventListener("input", command);
how.addEventListener("change", () => {
  if (talk && !go.disabled) {
    talk.close(); // another conversation, for its instructions hold from its beginning
    talk = null;
  }
});
prompt.addEventListener("input", command);
command();
prompt.focus();

const who = await session().catch(() => null);
const needsKey = who?.needs_key === true && !who.signed_in;
find("key-label").hidden = !needsKey;
find("key").addEventListener("change", () => offerModels(wishes().key));
if (!who?.needs_key) void offerModels();
