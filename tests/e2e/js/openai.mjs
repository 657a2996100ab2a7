// The openai package: chat completions, responses and embeddings.

import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { SCHEMA, all, main } from "./asking.mjs";

const MODEL = "gpt-4.1-mini";
const FUNCTION = { name: "weather", parameters: SCHEMA };
const FORECAST = z.object({ city: z.string(), days: z.number(), warnings: z.array(z.string()) });

function client(one) {
  return new OpenAI({
    baseURL: `${one.bases.openai}/v1`,
    apiKey: one.key,
    timeout: one.timeout * 1000,
    defaultHeaders: one.headers,
    ...(one.retries === null ? {} : { maxRetries: one.retries }),
  });
}

// The client's time-out ends with the head of a response: who wants one for the body gives a signal.
function options(one) {
  return { signal: AbortSignal.timeout(one.timeout * 2000) };
}

async function chat(one) {
  const completions = client(one).chat.completions;
  const asked = { model: MODEL, messages: [{ role: "user", content: one.prompt }] };
  if (one.form.startsWith("tool")) asked.tools = [{ type: "function", function: FUNCTION }];
  if (one.form === "structured") {
    return completions.parse({ ...asked, response_format: zodResponseFormat(FORECAST, "forecast") }, options(one));
  }
  if (!one.form.includes("stream")) {
    const completion = await completions.create(asked, options(one));
    return { completion, request: completion._request_id };
  }
  if (one.form === "stream with usage") asked.stream_options = { include_usage: true };
  // The SDK's own accumulator makes a completion of the chunks.
  const stream = completions.stream(asked, options(one));
  const chunks = await all(stream);
  return { chunks, completion: await stream.finalChatCompletion() };
}

async function responses(one) {
  const api = client(one).responses;
  const asked = { model: MODEL, input: one.prompt };
  if (one.form.startsWith("tool")) asked.tools = [{ type: "function", strict: false, ...FUNCTION }];
  if (one.form === "structured") {
    return api.parse({ ...asked, text: { format: zodTextFormat(FORECAST, "forecast") } }, options(one));
  }
  if (one.form.includes("stream")) return all(await api.create({ ...asked, stream: true }, options(one)));
  return api.create(asked, options(one));
}

function embeddings(one) {
  const asked = { model: "text-embedding-3-small", input: [one.prompt], dimensions: 8 };
  return client(one).embeddings.create(asked, options(one));
}

await main({ chat, responses, embeddings });
