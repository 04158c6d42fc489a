// Asks the router as each client does by its defaults; prints a JSON line [case, what it said] each.
import OpenAI from "openai";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, streamText, generateObject } from "ai";
import { z } from "zod";
const baseURL = process.env.RATCHET_URL + "/v1", apiKey = process.env.RATCHET_KEY;
const openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const sdk = createOpenAI({ baseURL, apiKey });
const Invoice = z.object({ total: z.number() });
const messages = [{ role: "user", content: "Where is my parcel?" }];
async function text(parts) { let all = ""; for await (const part of parts) all += part; return all; }
const cases = {
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
