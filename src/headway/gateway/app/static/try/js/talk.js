/** A conversation by `/chat`: one socket for as long as it lasts. */

/** @typedef {import("./main.js").How} How */
/** @typedef {import("./main.js").Show} Show */

export class Talk {
  /** @param {How} how */
  constructor(how) {
    const { key, model, ...wishes } = how;
    this.model = model ?? "";
    /** @type {Show | null} */
    this._show = null;
    this.open = true;
    const query = new URLSearchParams(Object.entries(wishes).map(([name, value]) => [name, String(value)]));
    const address = new URL(`/chat?${query}`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    this._socket = new WebSocket(address);
    /** @type {string[]} */
    this._early = key ? [JSON.stringify({ type: "key", key })] : [];
    this._socket.onopen = () => this._early.splice(0).forEach((text) => this._socket.send(text));
    this._socket.onmessage = (message) => this._take(JSON.parse(message.data));
    this._socket.onclose = (event) => this._closed(event);
  }

  /** @param {string} text @param {string} model @param {Show} show */
  say(text, model, show) {
    this._show = show;
    this._send({ type: "say", text, ...(model ? { model } : {}) });
  }

  cancel() {
    this._send({ type: "cancel" });
  }

  close() {
    this.open = false;
    this._show = null;
    this._socket.close(1000);
  }

  /** @param {object} frame */
  _send(frame) {
    const text = JSON.stringify(frame);
    if (this._socket.readyState === WebSocket.CONNECTING) this._early.push(text);
    else this._socket.send(text);
  }

  /** @param {any} frame */
  _take(frame) {
    if (frame.type === "token") this._show?.token(frame.text);
    else if (frame.type === "done") this._show?.done(frame);
    else if (frame.type === "cancelled") this._show?.stopped(frame);
    else if (frame.type === "error") this._show?.failed(frame.message);
  }

  /** @param {CloseEvent} event */
  _closed(event) {
    this.open = false;
    this._show?.failed(event.reason || "The conversation was closed. Ask again to begin another.");
  }
}
