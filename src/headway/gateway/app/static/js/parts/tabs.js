/** Tabs: one is a stop of the Tab key, arrow keys choose among them. */

import { h, newId, set } from "../core/dom.js";

/**
 * @param {string} label
 * @param {{name: string, panel: HTMLElement}[]} tabs
 * @returns {{list: HTMLElement, panels: HTMLElement}}
 */
export function tabs(label, tabs) {
  const list = h("div", { class: "segments", role: "tablist", "aria-label": label });
  const panels = h("div");
  const made = tabs.map(({ name, panel }) => {
    const id = newId("tab");
    const tab = h("button", { type: "button", role: "tab", id, "aria-controls": `${id}-panel` }, name);
    set(panel, "id", `${id}-panel`);
    set(panel, "role", "tabpanel");
    set(panel, "aria-labelledby", id);
    list.append(tab);
    panels.append(panel);
    return { tab, panel };
  });
  const choose = (/** @type {number} */ chosen) => {
    made.forEach(({ tab, panel }, index) => {
      set(tab, "aria-selected", String(index === chosen));
      set(tab, "tabindex", index === chosen ? 0 : -1);
      panel.hidden = index !== chosen;
    });
  };
  made.forEach(({ tab }, index) => {
    tab.addEventListener("click", () => choose(index));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: made.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = (to + made.length) % made.length;
      choose(next);
      made[next].tab.focus();
    });
  });
  choose(0);
  return { list, panels };
}
