/** The door: an admin key, told once; what it gets is a cookie that no script can read. */

import { ApiError, signIn } from "../core/api.js";
import { h, say } from "../core/dom.js";
import { brand } from "../parts/brand.js";
import { codeBlock } from "../parts/copy.js";

/** @param {() => void} done @returns {HTMLElement} */
export function signInView(done) {
  const field = h("input", {
    type: "password",
    id: "key",
    name: "key",
    autocomplete: "current-password",
    placeholder: "hw-…",
    required: true,
    spellcheck: "false",
    "aria-describedby": "key-trouble",
  });
  const trouble = h("p", { class: "trouble", id: "key-trouble", role: "alert" });
  const button = h("button", { class: "primary" }, "Sign in");
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    button.disabled = true;
    say(trouble, "");
    try {
      await signIn(field.value.trim());
      field.value = "";
      done();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      say(trouble, error.message);
      field.select();
      field.focus();
    } finally {
      button.disabled = false;
    }
  };
  return h(
    "main",
    { id: "main", class: "door", tabindex: -1 },
    h(
      "form",
      { class: "card", onsubmit: submit },
      h("h1", {}, brand()),
      h("p", {}, "Sign in with an admin key of this gateway."),
      // Password managers file a key under a name.
      h("input", { type: "text", name: "username", autocomplete: "username", value: "headway", hidden: true }),
      h("label", { for: "key" }, "Admin key"),
      field,
      trouble,
      button,
      h(
        "details",
        {},
        h("summary", {}, "No key at hand?"),
        h("p", {}, "Make one on the gateway's machine. It counts within a second."),
        codeBlock("headway keys create me --admin", "the command"),
      ),
    ),
  );
}
