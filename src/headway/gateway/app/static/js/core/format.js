/** Figures as people read them: three digits that matter, a unit, and "–" or "unknown" where there is none. */

const NONE = "–";
/** A figure and its unit stay on one line. */
const NBSP = "\u00a0";

/** @param {number} value @param {number} places */
function fixed(value, places) {
  return value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
}

/** Three digits that matter, at most two decimals. @param {number} value */
function digits(value) {
  if (value >= 99.95) return fixed(value, 0);
  return fixed(value, value >= 9.995 ? 1 : 2);
}

/**
 * A duration: "0.31 ms", "1.23 s", "2 min 05 s", "1 h 05 min".
 *
 * @param {number | null | undefined} value_s
 */
export function seconds(value_s) {
  if (value_s === null || value_s === undefined) return NONE;
  if (value_s <= 0) return `0${NBSP}s`;
  if (value_s < 0.9995) return value_s < 0.00001 ? `<${NBSP}0.01${NBSP}ms` : `${digits(value_s * 1000)}${NBSP}ms`;
  if (value_s < 59.95) return `${digits(value_s)}${NBSP}s`;
  const pad = (/** @type {number} */ rest) => String(rest).padStart(2, "0");
  if (value_s < 3599.5)
    return `${Math.floor(Math.round(value_s) / 60)}${NBSP}min${NBSP}${pad(Math.round(value_s) % 60)}${NBSP}s`;
  const minutes = Math.round(value_s / 60);
  return `${Math.floor(minutes / 60)}${NBSP}h${NBSP}${pad(minutes % 60)}${NBSP}min`;
}

/**
 * US dollars: "$0.000123", "$0.0457", "$12.30", "$1,234"; null is "unknown", never zero.
 *
 * @param {number | null | undefined} value
 */
export function dollars(value) {
  if (value === null || value === undefined) return "unknown";
  if (value === 0) return "$0";
  const size = Math.abs(value);
  const sign = value < 0 ? "-" : "";
  if (size >= 999.995) return `${sign}$${fixed(size, 0)}`;
  if (size >= 0.995) return `${sign}$${fixed(size, 2)}`;
  const text = size.toFixed(Math.min(12, 2 - Math.floor(Math.log10(size))));
  return `${sign}$${size < 0.0001 ? bare(text) : text}`;
}

/**
 * A share of 0 to 1 as "3.4 %" or "47 %". Only what is all or nothing reads 100 % or 0 %.
 *
 * @param {number | null | undefined} share
 */
export function percent(share) {
  if (share === null || share === undefined) return NONE;
  const value = share * 100;
  if (value >= 99.5 && value < 100) return `${Math.min(value, 99.9).toFixed(1)}${NBSP}%`;
  if (value > 0 && value < 0.05) return `<${NBSP}0.1${NBSP}%`;
  return value > 0 && value < 9.95 ? `${value.toFixed(1)}${NBSP}%` : `${value.toFixed(0)}${NBSP}%`;
}

/**
 * A whole number with its thousands apart.
 *
 * @param {number | null | undefined} value
 */
export function count(value) {
  return value === null || value === undefined ? NONE : fixed(value, 0);
}

/**
 * A number too long for an axis or a narrow column: "950", "12.3k", "4.56M".
 *
 * @param {number | null | undefined} value
 */
export function short(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 1000) return fixed(value, 0);
  return value < 999_500 ? `${digits(value / 1000)}k` : `${digits(value / 1e6)}M`;
}

/**
 * So many a second: "0.07", "3.4", "120".
 *
 * @param {number} value
 */
export function rate(value) {
  if (value === 0) return "0";
  if (value < 0.005) return "< 0.01";
  return value < 9.995 ? fixed(value, value < 0.995 ? 2 : 1) : fixed(value, value < 99.95 ? 1 : 0);
}

/**
 * A figure without the zeros that an axis does not need: "2.00 s" is "2 s" there.
 *
 * @param {string} text
 */
export function bare(text) {
  return text.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");
}

/**
 * "1 call", "2 calls".
 *
 * @param {number} value
 * @param {string} one
 * @param {string} [many]
 */
export function plural(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/** An address without what everybody knows of it. @param {string} origin */
export const host = (origin) => origin.replace(/^https?:\/\//, "");

/** A time of day on this machine's clock: "14:03:20". @param {number} wall_s */
export function clock(wall_s) {
  return new Date(wall_s * 1000).toLocaleTimeString("en-GB");
}

/** A day on this machine's clock: "3 Dec 2026". @param {number} wall_s */
export function day(wall_s) {
  return new Date(wall_s * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

/** Date and time on this machine's clock, with the zone. @param {number} wall_s */
export function moment(wall_s) {
  return new Date(wall_s * 1000).toLocaleString("en-GB", {
    weekday: "short",
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "short",
  });
}

/**
 * How long ago: "now", "12 s ago", "5 min ago", "3 h ago", "2 d ago".
 *
 * @param {number} age_s
 */
export function ago(age_s) {
  if (age_s < 1.5) return "now";
  if (age_s < 59.5) return `${Math.round(age_s)} s ago`;
  if (age_s < 3570) return `${Math.round(age_s / 60)} min ago`;
  return age_s < 86_000 ? `${Math.round(age_s / 3600)} h ago` : `${Math.round(age_s / 86_400)} d ago`;
}

/** A window of time: "5 min", "24 h", "7 d". @param {number} window_s */
export function span(window_s) {
  if (window_s < 3600) return `${Math.round(window_s / 60)} min`;
  return window_s < 172_800 ? `${Math.round(window_s / 3600)} h` : `${Math.round(window_s / 86_400)} d`;
}
