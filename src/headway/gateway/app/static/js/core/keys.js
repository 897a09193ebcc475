/** How callers are named: by their keys, where the gateway has some. */

/** Without the gateway's keys, callers are told apart by a digest of what they sent: nothing that anybody knows. */
const DIGEST = /^[0-9a-f]{16,}$/;

/** @param {string} id @param {string} name "" or the id where there is none. */
const isNoKey = (id, name) => (!name || name === id) && DIGEST.test(id);

/**
 * A key's name; "no key" where there is none, with the beginning of its digest where there are several of them.
 *
 * @param {string} id
 * @param {string} name
 * @param {boolean} [several]
 */
export function keyName(id, name, several = false) {
  if (isNoKey(id, name)) return several ? `no key (${id.slice(0, 6)})` : "no key";
  return name || id || "–";
}

/** The same for all of a list. @template {{id: string, name: string}} K @param {K[]} keys @returns {K[]} */
export function named(keys) {
  const several = keys.filter(({ id, name }) => isNoKey(id, name)).length > 1;
  return keys.map((one) => ({ ...one, name: keyName(one.id, one.name, several) }));
}
