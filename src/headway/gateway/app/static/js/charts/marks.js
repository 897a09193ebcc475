/** What is drawn inside of a chart's frame: one path a series, however many values it has. */

/** @typedef {(number | null)[]} Values */
/** @typedef {(index: number) => number} ToX */
/** @typedef {(value: number) => number} ToY */

/** One decimal is a tenth of a pixel. @param {number} value */
const at = (value) => value.toFixed(1);

/**
 * A line, broken where there is no value.
 *
 * @param {Values} values @param {ToX} x @param {ToY} y
 */
export function linePath(values, x, y) {
  let path = "";
  let open = false;
  values.forEach((value, index) => {
    if (value === null) {
      open = false;
      return;
    }
    path += `${open ? "L" : "M"}${at(x(index))} ${at(y(value))}`;
    open = true;
  });
  return path;
}

/**
 * Values between two gaps, where no line shows them: lines of no length, with round ends.
 *
 * @param {Values} values @param {ToX} x @param {ToY} y
 */
export function dotsPath(values, x, y) {
  let path = "";
  values.forEach((value, index) => {
    const alone = (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null;
    if (value !== null && alone) path += `M${at(x(index))} ${at(y(value))}h0`;
  });
  return path;
}

/**
 * Bars from one height to another.
 *
 * @param {number[]} from @param {number[]} to @param {ToX} x Left edges. @param {ToY} y @param {number} width
 */
export function barsPath(from, to, x, y, width) {
  let path = "";
  to.forEach((top, index) => {
    if (top <= from[index]) return;
    // Something is never nothing: at least one pixel.
    const height = Math.max(1, y(from[index]) - y(top));
    path += `M${at(x(index))} ${at(y(from[index]))}v${at(-height)}h${at(width)}v${at(height)}z`;
  });
  return path;
}
