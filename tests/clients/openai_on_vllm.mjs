// Asks a router over the real vLLM as OpenAI's own client does; prints a JSON line [case, what came].
import OpenAI from "openai";
const openai = new OpenAI({ baseURL: process.env.RATCHET_URL + "/v1", apiKey: process.env.RATCHET_KEY, maxRetries: 0 });
const messages = [{ role: "user", content: "Book me two nights in Riga." }];
const schema = JSON.parse(process.env.TRIP_SCHEMA), model = process.env.RATCHET_ROUTE;
const tools = [{ type: "function", function: { name: "book", parameters: schema } }];
const cases = {
  plain: async () => (await openai.chat.completions.create({ model, messages, max_tokens: 16 })).choices[0].message.content,
  streamed: async () => { let all = ""; for await (const c of await openai.chat.completions.create({ model, messages, max_tokens: 16, stream: true })) all += c.choices[0]?.delta?.content ?? ""; return all; },
  responses: async () => (await openai.responses.create({ model, input: messages[0].content, max_output_tokens: 16 })).output_text,
  object: async () => (await openai.chat.completions.create({ model, messages, response_format: { type: "json_schema", json_schema: { name: "trip", schema } } })).choices[0].message.content,
  tool: async () => (await openai.chat.completions.create({ model, messages, tools, tool_choice: "required" })).choices[0].message.tool_calls[0].function.arguments,
};
for (const [name, ask] of Object.entries(cases)) {
  let said; try { said = await ask(); } catch (error) { said = `FAILED ${error.name}: ${error.message}`; }
  console.log(JSON.stringify([name, said]));
}
