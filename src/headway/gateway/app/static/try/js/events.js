/** Server-sent events out of a fetched body: what EventSource does, for requests that it cannot make (POST, headers). */

/** @typedef {{name: string, data: any}} Event */

/**
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<Event>}
 */
export async function* events(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      const blocks = rest.split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const event = read(block);
        if (event) yield event;
      }
      if (done) return;
    }
  } finally {
    await reader.cancel().catch(() => {}); // left early: the gateway ends the answer
  }
}

/** @param {string} block @returns {Event | null} */
function read(block) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data.push(line.slice(6));
  }
  return data.length ? { name, data: JSON.parse(data.join("\n")) } : null;
}
