/**
 * Elements without a framework. Text only ever becomes a text node, so what comes from models, clients and providers
 * cannot become markup; the page's Content-Security-Policy (trusted types) forbids every other way as well.
 */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false} Child */
/** @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Props */

/**
 * An HTML element. Functions become listeners (`onclick`), true an empty attribute, false and null none.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/**
 * An SVG element, made like those of `h`.
 *
 * @template {keyof SVGElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...Child} children
 * @returns {SVGElementTagNameMap[K]}
 */
export function s(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/**
 * @template {Element} E
 * @param {E} element
 * @param {Props} props
 * @param {Child[]} children
 * @returns {E}
 */
function fill(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else set(element, name, value);
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false)
      element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/**
 * Set an attribute if it is not what it should be: an untouched document is not laid out again.
 *
 * @param {Element} element
 * @param {string} name
 * @param {string | number | boolean | null | undefined} value
 */
export function set(element, name, value) {
  if (value === false || value === null || value === undefined) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/**
 * Set an element's text if it is not what it should be.
 *
 * @param {Element} element
 * @param {string | number} value
 */
export function say(element, value) {
  const text = String(value);
  if (element.textContent !== text) element.textContent = text;
}

/**
 * An icon of 16 by 16, drawn with the text's colour.
 *
 * @param {string} path
 */
export function icon(path) {
  return s("svg", { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true" }, s("path", { d: path }));
}

let ids = 0;

/**
 * An id that no other element has.
 *
 * @param {string} [prefix]
 */
export function newId(prefix = "i") {
  ids += 1;
  return `${prefix}${ids}`;
}
