// Makes each client in Node by the very words of docs/migrate.md, and asks once with it.
import { readFileSync } from "node:fs";
import OpenAI from "openai";
import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";
const ROUTE = "acme/summary", KEY = process.env.RATCHET_KEY, base = JSON.stringify(process.env.RATCHET_URL + "/v1");
const ask = {
  "openai (Node)": async (made) => (await made.chat.completions.create({ model: ROUTE, messages: [{ role: "user", content: "Where?" }] })).choices[0].message.content,
  "Vercel AI SDK": async (made) => (await generateText({ model: made(ROUTE), prompt: "Where?" })).text,
};
for (const [, client, words] of readFileSync(process.argv[2], "utf-8").matchAll(/^\| (.+?) \| `(.+?)` \|/gm)) {
  if (!(client in ask)) continue;
  let said; try { said = await ask[client](eval(words.replace('"http://ROUTER:8100/v1"', base))); } catch (error) { said = `FAILED ${error.name}: ${error.message}`; }
  console.log(JSON.stringify([client, said]));
}
