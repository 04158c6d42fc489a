// Asks the router as each client does by its defaults; prints a JSON line [case, what it said] each.
import OpenAI from "openai";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText, generateObject, tool, stepCountIs } from "ai";
import { z } from "zod";
const baseURL = process.env.RATCHET_URL + "/v1", apiKey = process.env.RATCHET_KEY;
const openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const sdk = createOpenAI({ baseURL, apiKey });
const Invoice = z.object({ total: z.number() });
const messages = [{ role: "user", content: "Where is my parcel?" }];
async function text(parts) { let all = ""; for await (const part of parts) all += part; return all; }
const parameters = { type: "object", properties: { id: { type: "integer" } }, required: ["id"] };
const where = ({ id }) => ({ 7: "Hamburg" })[id];
const find = tool({ description: "Says where a parcel is.", inputSchema: z.object({ id: z.number() }), execute: async (sent) => where(sent) });
const agent = (model) => ({ model, prompt: "Where is parcel 7?", tools: { find }, stopWhen: stepCountIs(5) });
const runner = (more) => openai.chat.completions.runTools({ model: "acme/agent", messages, tools: [{ type: "function", function: { name: "find", parameters, parse: JSON.parse, function: where } }], ...more });
const cases = {
  "openai-node agent (runTools)": async () => runner({}).finalContent(),
  "openai-node agent streamed (runTools)": async () => runner({ stream: true }).finalContent(),
  "openai-node live": async () => { let all = ""; for await (const c of await openai.chat.completions.create({ model: "acme/live", messages, stream: true })) all += c.choices[0]?.delta?.content ?? ""; return all; },
  "openai-node live responses": async () => { let all = ""; for await (const e of await openai.responses.create({ model: "acme/live", input: "Where?", stream: true })) if (e.type === "response.output_text.delta") all += e.delta; return all; },
  "ai-sdk agent (responses)": async () => (await generateText(agent(sdk("acme/agent")))).text,
  "ai-sdk agent (chat)": async () => (await generateText(agent(sdk.chat("acme/agent")))).text,
  "ai-sdk agent streamed (responses)": async () => text(streamText(agent(sdk("acme/agent"))).textStream),
  "ai-sdk agent streamed (chat)": async () => text(streamText(agent(sdk.chat("acme/agent"))).textStream),
  "ai-sdk live (responses)": async () => text(streamText({ model: sdk("acme/live"), prompt: "Where?" }).textStream),
  "ai-sdk live (chat)": async () => text(streamText({ model: sdk.chat("acme/live"), prompt: "Where?" }).textStream),
  "openai-node plain": async () => (await openai.chat.completions.create({ model: "acme/support-triage", messages })).choices[0].message.content,
  "openai-node streamed": async () => { let all = ""; for await (const c of await openai.chat.completions.create({ model: "acme/summary", messages, stream: true })) all += c.choices[0]?.delta?.content ?? ""; return all; },
  "openai-node responses": async () => (await openai.responses.create({ model: "acme/summary", input: "Where?" })).output_text,
  "ai-sdk plain (responses)": async () => (await generateText({ model: sdk("acme/summary"), prompt: "Where?" })).text,
  "ai-sdk plain (chat)": async () => (await generateText({ model: sdk.chat("acme/summary"), prompt: "Where?" })).text,
  "ai-sdk streamed (responses)": async () => text(streamText({ model: sdk("acme/summary"), prompt: "Where?" }).textStream),
  "ai-sdk streamed (chat)": async () => text(streamText({ model: sdk.chat("acme/summary"), prompt: "Where?" }).textStream),
  "ai-sdk object (responses)": async () => JSON.stringify((await generateObject({ model: sdk("acme/invoice"), schema: Invoice, prompt: "12.50" })).object),
  "ai-sdk object (chat)": async () => JSON.stringify((await generateObject({ model: sdk.chat("acme/invoice"), schema: Invoice, prompt: "12.50" })).object),
};
for (const [name, ask] of Object.entries(cases)) {
  let said; try { said = await ask(); } catch (error) { said = `FAILED ${error.name}: ${error.message}`; }
  console.log(JSON.stringify([name, said]));
}
