/** Single keys, where nobody is typing. What they do is listed in parts/help.js. */

/** @param {Record<string, () => void>} actions */
export function listen(actions) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const at = event.target instanceof Element ? event.target : null;
    if (at?.closest("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]")) return;
    const action = actions[event.key];
    if (action === undefined || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    action();
  });
}
