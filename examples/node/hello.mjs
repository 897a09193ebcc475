// The official `openai` package (npm install openai), pointed at a gateway and otherwise as it comes:
//
//   OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=any node hello.mjs

import OpenAI from "openai";

const ai = new OpenAI();
const model = "gpt-5.4-mini";

const messages = [{ role: "user", content: "Name three colours." }];
const { data, response } = await ai.chat.completions.create({ model, messages }).withResponse();
console.log(data.choices[0].message.content);
console.log(response.headers.get("headway-cost"), "dollars,", response.headers.get("headway-attempts"), "attempt");

const story = await ai.responses.create({ model, input: "Write 20 words about the tides.", stream: true });
for await (const event of story) {
  if (event.type === "response.output_text.delta") process.stdout.write(event.delta);
}
process.stdout.write("\n");
