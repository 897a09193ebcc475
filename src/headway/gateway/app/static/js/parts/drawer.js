/** A panel at the side, over the page: the browser keeps the focus inside, and gives it back when it closes. */

import { h, icon } from "../core/dom.js";

const CROSS = "M4 4l8 8M12 4l-8 8";

export class Drawer {
  /** @param {() => void} closed It was closed by the reader. */
  constructor(closed) {
    this._body = h("div", { class: "drawer-body" });
    const close = h(
      "button",
      { type: "button", class: "quiet icon-only", "aria-label": "Close (Esc)", title: "Close (Esc)" },
      icon(CROSS),
    );
    this._title = h("h2", { tabindex: -1 });
    this.element = h(
      "dialog",
      { class: "drawer", "aria-label": "Details" },
      h("div", { class: "drawer-head" }, this._title, close),
      this._body,
    );
    close.addEventListener("click", closed);
    this.element.addEventListener("cancel", (event) => {
      event.preventDefault();
      closed();
    });
    this.element.addEventListener("click", (event) => {
      if (event.target === this.element) closed(); // beside it
    });
  }

  /** @param {string} title @param {...Node} content */
  show(title, ...content) {
    this._title.textContent = title;
    this._body.replaceChildren(...content);
    if (!this.element.open) this.element.showModal();
    this._body.scrollTop = 0;
  }

  /** Put something else in the place of what is shown. @param {...Node} content */
  replace(...content) {
    this._body.replaceChildren(...content);
  }

  close() {
    if (this.element.open) this.element.close();
  }
}
