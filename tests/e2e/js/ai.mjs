// The ai package before each of the three APIs.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { Output, generateText, jsonSchema, streamText, tool } from "ai";
import { z } from "zod";
import { SCHEMA, all, main, raised } from "./asking.mjs";

const TOOLS = { weather: tool({ description: "The weather of a city.", inputSchema: jsonSchema(SCHEMA) }) };
const FORECAST = z.object({ city: z.string(), days: z.number(), warnings: z.array(z.string()) });

async function ask(one, model) {
  const asked = {
    model,
    prompt: one.prompt,
    headers: one.headers,
    abortSignal: AbortSignal.timeout(one.timeout * 1000),
    ...(one.retries === null ? {} : { maxRetries: one.retries }),
    ...(one.form.startsWith("tool") ? { tools: TOOLS } : {}),
    ...(one.form === "structured" ? { output: Output.object({ schema: FORECAST }) } : {}),
  };
  if (!one.form.includes("stream")) return answered(await generateText(asked), one);
  let failure = null;
  const result = streamText({ ...asked, onError: ({ error }) => (failure = error) });
  const parts = (await all(result.fullStream)).map(told);
  return { parts, failure: failure && raised(failure) };
}

// What most users read of a result.
function answered(result, one) {
  const { text, toolCalls, finishReason, usage, warnings } = result;
  return { text, toolCalls, finishReason, usage, warnings, ...(one.form === "structured" ? { output: result.output } : {}) };
}

// A part of a stream without what is of one call only.
function told(part) {
  if (part.type === "error") return { type: part.type, error: raised(part.error) };
  const { request, response, providerMetadata, ...rest } = part;
  return rest;
}

await main({
  chat: (one) => ask(one, createOpenAI({ baseURL: `${one.bases.openai}/v1`, apiKey: one.key }).chat("gpt-4.1-mini")),
  responses: (one) => ask(one, createOpenAI({ baseURL: `${one.bases.openai}/v1`, apiKey: one.key })("gpt-4.1-mini")),
  anthropic: (one) =>
    ask(one, createAnthropic({ baseURL: `${one.bases.anthropic}/v1`, apiKey: one.key })("claude-sonnet-4-5")),
  google: (one) =>
    ask(one, createGoogleGenerativeAI({ baseURL: `${one.bases.gemini}/v1beta`, apiKey: one.key })("gemini-2.5-flash")),
});
