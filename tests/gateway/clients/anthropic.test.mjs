// The official `@anthropic-ai/sdk` for Node.js, pointed at the gateway by its environment alone.

import assert from "node:assert/strict";
import { test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";

const ai = new Anthropic();
const ask = {
  model: "claude-haiku-4-5",
  max_tokens: 100,
  messages: [{ role: "user", content: "Write 12 words about tides." }],
};

test("messages, whole and streamed, are the same answer", async () => {
  const whole = await ai.messages.create(ask);
  assert.equal(whole.stop_reason, "end_turn");
  const streamed = await ai.messages.stream(ask).finalMessage();
  assert.deepEqual(streamed.content[0].text, whole.content[0].text);
  assert.equal(streamed.usage.output_tokens, whole.usage.output_tokens);
});

test("errors are the package's own classes", async () => {
  await assert.rejects(new Anthropic({ apiKey: "hw-nobody" }).messages.create(ask), Anthropic.AuthenticationError);
  await assert.rejects(
    new Anthropic({ apiKey: process.env.KEY_NARROW }).messages.create(ask),
    Anthropic.PermissionDeniedError,
  );
  await assert.rejects(ai.messages.create({ ...ask, model: "claude-none" }), Anthropic.NotFoundError);
});
