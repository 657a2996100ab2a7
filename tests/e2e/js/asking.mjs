// What the programs of this folder have in common: each asks through one library, as its users do, and prints what it
// got. They speak with the tests as those of ../sdks/asking.py do.

import { text } from "node:stream/consumers";

export const SCHEMA = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

const AT_ONCE = 4;

// `apis` map names to functions of a case.
export async function main(apis) {
  const told = JSON.parse(await text(process.stdin));
  const cases = told.cases.map((one) => ({ ...one, bases: told.bases, headers: told.headers }));
  const outcomes = new Array(cases.length);
  let next = 0;
  const work = async () => {
    while (next < cases.length) {
      const at = next++;
      outcomes[at] = await outcome(apis[cases[at].api], cases[at]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  process.stdout.write(JSON.stringify(outcomes));
}

async function outcome(api, one) {
  try {
    return { returned: await api(one) };
  } catch (error) {
    return { raised: raised(error) };
  }
}

// What a caller can tell of an error.
export function raised(error) {
  return {
    type: error.name === "Error" ? error.constructor.name : error.name,
    status: error.status ?? error.statusCode ?? null,
    message: error.message,
    body: error.error ?? error.responseBody ?? null,
  };
}

export async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}
