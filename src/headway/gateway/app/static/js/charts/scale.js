/** Round numbers for axes. */

const TIME_STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];

/**
 * The least round number that is no less, and whose half is round as well.
 *
 * @param {number} value Above 0.
 */
export function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10].find((one) => value <= one * power * 1.0001) ?? 10;
  return step * power;
}

/**
 * Where an axis of time has its marks: on round times of this machine's clock.
 *
 * @param {number} from_s Unix seconds.
 * @param {number} to_s
 * @param {number} most How many there may be.
 * @returns {{at_s: number, label: string}[]}
 */
export function timeMarks(from_s, to_s, most) {
  const span_s = Math.max(1, to_s - from_s);
  const step_s = TIME_STEPS_S.find((one) => span_s / one <= most) ?? 86_400;
  const shift_s = new Date(from_s * 1000).getTimezoneOffset() * 60;
  const marks = [];
  for (let at_s = Math.ceil((from_s - shift_s) / step_s) * step_s + shift_s; at_s <= to_s; at_s += step_s) {
    marks.push({ at_s, label: timeLabel(at_s, step_s) });
  }
  return marks;
}

/** @param {number} at_s @param {number} step_s */
function timeLabel(at_s, step_s) {
  const at = new Date(at_s * 1000);
  if (step_s >= 86_400) return at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
  const time = at.toLocaleTimeString("en-GB", {
    hour: "2-digit",
    minute: "2-digit",
    second: step_s < 60 ? "2-digit" : undefined,
  });
  return step_s >= 10_800 && at.getHours() === 0
    ? at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })
    : time;
}
