// SPDX-License-Identifier: Apache-2.0
// An answer as a stream, whichever interface it came by: chat where the model has a template, and else the text that goes on.
import { events, props } from "./server.js";

// settings: temperature, top_p, seed, max_tokens (absent: as the server was told), system.
function fieldsOf(settings) {
  const fields = {};
  for (const name of ["temperature", "top_p", "seed", "max_tokens"]) if (settings[name] !== null && settings[name] !== undefined) fields[name] = settings[name];
  return fields;
}

// Yields { text, reasoning, tokens, finish, usage, timings }, each where there is some of it. A token is { bytes, logprob, top }, top a list of
// { text, logprob }; they come where chances, how many of the most probable to tell, is given.
export async function* generate({ model, messages, settings, chances = null, signal }) {
  const chats = (await props(model)).chat_template !== null;
  const body = { ...(model ? { model } : {}), ...fieldsOf(settings), stream: true, stream_options: { include_usage: true } };
  if (chats) {
    body.messages = [...(settings.system ? [{ role: "system", content: settings.system }] : []), ...messages];
    if (chances !== null) Object.assign(body, { logprobs: true, top_logprobs: chances });
  } else {
    body.prompt = (settings.system ?? "") + messages.map((message) => message.content).join("");
    body.max_tokens ??= 256;
    if (chances !== null) body.logprobs = chances;
  }
  for await (const event of events(chats ? "/v1/chat/completions" : "/v1/completions", body, signal)) {
    const choice = event.choices?.find((one) => one.index === 0);
    yield {
      text: (chats ? choice?.delta?.content : choice?.text) ?? "",
      reasoning: choice?.delta?.reasoning_content ?? "",
      tokens: choice?.logprobs ? (chats ? chatTokens(choice.logprobs) : textTokens(choice.logprobs)) : [],
      finish: choice?.finish_reason ?? null,
      usage: event.usage ?? null,
      timings: event.timings ?? null,
    };
  }
}

const chatTokens = (logprobs) => (logprobs.content ?? []).map((token) => ({
  bytes: token.bytes, logprob: token.logprob, top: token.top_logprobs.map((one) => ({ text: one.token, logprob: one.logprob })),
}));

const textTokens = (logprobs) => (logprobs.tokens ?? []).map((token, i) => ({
  bytes: bytesOf(token), logprob: logprobs.token_logprobs[i],
  top: Object.entries(logprobs.top_logprobs?.[i] ?? {}).map(([text, logprob]) => ({ text, logprob })).sort((a, b) => b.logprob - a.logprob),
}));

// "bytes:\xe4\xbd" is how a token goes that is no whole text.
function bytesOf(token) {
  if (/^bytes:(\\x[0-9a-f]{2})+$/.test(token)) return token.slice(6).split("\\x").slice(1).map((hex) => parseInt(hex, 16));
  return [...new TextEncoder().encode(token)];
}
