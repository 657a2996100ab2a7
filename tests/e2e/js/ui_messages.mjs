// The ai package's side of useChat: sends a request as its transport does and reads the answer as a UI message.
// Standard input: {"api", "headers", "body"}. Standard output: {"message", "kinds", "failure"}; kinds are those of the
// stream's parts, in order.

import { text } from "node:stream/consumers";
import { DefaultChatTransport, readUIMessageStream } from "ai";

const { api, headers, body } = JSON.parse(await text(process.stdin));
const transport = new DefaultChatTransport({ api, headers, prepareSendMessagesRequest: () => ({ body }) });
const parts = await transport.sendMessages({ chatId: "chat", trigger: "submit-message", messages: [] });
const kinds = [];
const noted = new TransformStream({
  transform(part, next) {
    kinds.push(part.type);
    next.enqueue(part);
  },
});
let message = null;
let failure = null;
const onError = (error) => (failure = error.message);
for await (message of readUIMessageStream({ stream: parts.pipeThrough(noted), onError }));
process.stdout.write(JSON.stringify({ message, kinds, failure }));
