/** The admin API: JSON in and out, and errors that say what to do. */

/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {import("./types.js").Session} Session */

/** What the API, or the way to it, refused. */
export class ApiError extends Error {
  /** @param {number} status 0 where there was no answer @param {string} message */
  constructor(status, message) {
    super(message);
    this.name = "ApiError";
    this.status = status;
  }
}

/**
 * Ask the API.
 *
 * @param {string} path Below /api, with its query.
 * @param {{method?: string, body?: unknown, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function ask(path, { method = "GET", body, signal } = {}) {
  /** @type {RequestInit} */
  const options = { method, signal, cache: "no-store", headers: { accept: "application/json" } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { accept: "application/json", "content-type": "application/json" };
  }
  let answer;
  try {
    answer = await fetch(`/api${path}`, options);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The gateway does not answer. Is `headway serve` still running?");
  }
  const text = await answer.text();
  if (!answer.ok) throw new ApiError(answer.status, messageOf(text) || `The gateway answered ${answer.status}.`);
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    throw new ApiError(answer.status, "The gateway's answer is not JSON.");
  }
}

/** The sentence of an error's body. @param {string} text */
function messageOf(text) {
  try {
    const error = JSON.parse(text).error;
    const message = String(typeof error === "string" ? error : (error?.message ?? ""));
    return message && `${message[0].toUpperCase()}${message.slice(1)}.`.replace(/\.\.$/, ".");
  } catch {
    return "";
  }
}

/** Filters as a query, without those that let everything through. @param {Filters} filters */
export function queryOf(filters) {
  const query = new URLSearchParams({ window_s: String(filters.window_s) });
  for (const name of /** @type {const} */ (["key", "model", "route", "upstream"])) {
    if (filters[name]) query.set(name, filters[name]);
  }
  return query.toString();
}

/** @returns {Promise<Session>} */
export const session = () => ask("/session");

/** Sign in; the key goes there, and stays nowhere on this side. @param {string} key @returns {Promise<Session>} */
export const signIn = (key) => ask("/session", { method: "POST", body: { key } });

export const signOut = () => ask("/session", { method: "DELETE" });
