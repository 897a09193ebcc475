// The official `openai` package for Node.js, pointed at the gateway by its environment alone.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI, { toFile } from "openai";

const ai = new OpenAI();
const messages = [{ role: "user", content: "Write 12 words about tides." }];
const model = "gpt-4o";

/** The official clients raise one class for each status; a second try by the client would be one too many. */
async function refused(promise, kind, status) {
  const error = await promise.then(
    () => assert.fail("it was answered"),
    (reason) => reason,
  );
  assert.ok(error instanceof kind, `${error?.constructor?.name}: ${error}`);
  assert.equal(error.status, status);
  assert.equal(error.headers.get("x-should-retry"), "false");
  return error;
}

test("chat completions, whole and streamed, are the same answer", async () => {
  const { data, response } = await ai.chat.completions.create({ model, messages }).withResponse();
  const whole = data.choices[0].message.content;
  assert.ok(whole.length > 0);
  assert.ok(data.usage.total_tokens > 0);
  assert.equal(response.headers.get("headway-attempts"), "1");
  assert.ok(Number(response.headers.get("headway-cost")) > 0);

  let streamed = "";
  let usage;
  const chunks = await ai.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const chunk of chunks) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(streamed, whole);
  assert.ok(usage.total_tokens > 0);
});

test("the stream helper gathers the whole completion", async () => {
  const runner = ai.chat.completions.stream({ model, messages });
  const done = await runner.finalChatCompletion();
  assert.equal(done.choices[0].finish_reason, "stop");
});

test("responses, whole and streamed", async () => {
  const whole = await ai.responses.create({ model, input: "Write 9 words about rain." });
  assert.ok(whole.output_text.length > 0);
  let streamed = "";
  let last;
  for await (const event of await ai.responses.create({ model, input: "Write 9 words about rain.", stream: true })) {
    if (event.type === "response.output_text.delta") streamed += event.delta;
    last = event.type;
  }
  assert.equal(streamed, whole.output_text);
  assert.equal(last, "response.completed");
});

test("a tool call comes as a tool call", async () => {
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const done = await ai.chat.completions.create({
    model,
    messages: [{ role: "user", content: "Paris" }],
    tools: [{ type: "function", function: { name: "get_weather", parameters } }],
    tool_choice: "required",
  });
  const call = done.choices[0].message.tool_calls[0];
  assert.equal(call.function.name, "get_weather");
  assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris" });
});

test("embeddings in the client's own coding", async () => {
  const done = await ai.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"], dimensions: 64 });
  assert.equal(done.data.length, 2);
  assert.equal(done.data[1].embedding.length, 64);
  assert.ok(Math.abs(Math.hypot(...done.data[0].embedding) - 1) < 1e-3);
});

test("models as a list that is paged through", async () => {
  const names = [];
  for await (const one of ai.models.list()) names.push(one.id);
  assert.ok(names.includes(model) && names.includes("text-embedding-3-small"));
  assert.equal((await ai.models.retrieve(model)).id, model);
});

test("a batch from its file to its results", async () => {
  const asked = { custom_id: "a", method: "POST", url: "/v1/chat/completions", body: { model, messages } };
  const file = await ai.files.create({
    file: await toFile(Buffer.from(`${JSON.stringify(asked)}\n`), "in.jsonl"),
    purpose: "batch",
  });
  const batch = await ai.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  assert.equal((await ai.batches.retrieve(batch.id)).id, batch.id);
  assert.equal(await (await ai.files.content(file.id)).text(), `${JSON.stringify(asked)}\n`);
  assert.equal((await ai.batches.cancel(batch.id)).id, batch.id);
  assert.ok((await ai.files.delete(file.id)).deleted);
});

test("errors are the package's own classes, asked once", async () => {
  const as = (apiKey) => new OpenAI({ apiKey }).chat.completions;
  const ask = { model, messages };
  await refused(as("hw-nobody").create(ask), OpenAI.AuthenticationError, 401);
  await refused(as(process.env.KEY_NARROW).create({ ...ask, model: "gpt-4.1" }), OpenAI.PermissionDeniedError, 403);
  await refused(ai.chat.completions.create({ ...ask, model: "no-such-model" }), OpenAI.NotFoundError, 404);
  await refused(ai.chat.completions.create({ model, messages: "none" }), OpenAI.BadRequestError, 400);
  const poor = await refused(as(process.env.KEY_POOR).create({ ...ask, max_tokens: 50 }), OpenAI.APIError, 402);
  assert.equal(poor.code, "budget");
});

test("429 says when to come back", async () => {
  const slow = new OpenAI({ apiKey: process.env.KEY_SLOW });
  const hurry = { headers: { "headway-deadline": "0.5" } };
  await slow.chat.completions.create({ model, messages });
  const again = slow.chat.completions.create({ model, messages: [{ role: "user", content: "Again." }] }, hurry);
  const error = await refused(again, OpenAI.RateLimitError, 429);
  assert.ok(Number(error.headers.get("retry-after")) > 1);
});

test("a stream that is left ends", async () => {
  const chunks = await ai.chat.completions.create({
    model: "gpt-4-turbo",
    messages: [{ role: "user", content: "Write 3000 words about leaving from Node." }],
    stream: true,
  });
  let seen = 0;
  for await (const chunk of chunks) {
    seen += chunk.choices.length;
    if (seen > 3) chunks.controller.abort();
  }
  assert.ok(seen > 3 && seen < 2000);
});

test("an answer that is not waited for is given up", async () => {
  const controller = new AbortController();
  const asked = ai.chat.completions.create(
    { model: "gpt-3.5-turbo", messages: [{ role: "user", content: "Write 3000 words about going." }] },
    { signal: controller.signal },
  );
  setTimeout(() => controller.abort(), 150);
  await assert.rejects(asked, OpenAI.APIUserAbortError);
});
