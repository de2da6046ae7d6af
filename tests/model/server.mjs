// A stand-in for an OpenAI-compatible model provider, for tests that run real OpenClaw agents without internet.
//
// It does not think. Each answer states what a test wants to know about the request that asked for it:
//
//   I am Ada, served by fake-1, authorised by key 2. You said: hello
//   I am Ada, served by fake-1, authorised by key 2. You told me: hello | my colour is green      (asked: recall)
//
// "I am" is the name found in the prompt, "served by" the model id asked for, "key" the 1-based place of the
// bearer key in MODEL_KEYS (so a test can prove a rotation), and "You told me" what the conversation's history holds.
//
// Environment: MODEL_KEYS (comma-separated keys; any other key gets OpenAI's 401), MODEL_PORT (18990).
// It keeps no state, and logs one line per request, without keys or texts: who asked, which key (its place, or 0 and the
// beginning of its digest), what for, and what became of it:
//
//   172.20.0.2 key 2 POST /v1/chat/completions 200
//   172.20.0.3 key 0:9f86d081 GET /v1/models 401

import { createHash, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const port = Number(process.env.MODEL_PORT ?? 18990);
const keys = (process.env.MODEL_KEYS ?? "").split(",").map((key) => key.trim()).filter(Boolean);
const modelIds = ["fake-1", "fake-2"];
const bodyBytesMax = 16 * 1024 * 1024; // A prompt is about 50 KB; this only stops a runaway.

/** The digest of the request's bearer key. */
function keyDigest(request) {
  return digest(/^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "");
}

/** The 1-based place of the request's bearer key in MODEL_KEYS; 0 when it is not there. */
function keyNumber(request) {
  const given = keyDigest(request);
  return keys.findIndex((key) => timingSafeEqual(digest(key), given)) + 1;
}

/** Who asked for what with which key. */
function summary(request) {
  const number = keyNumber(request) || `0:${keyDigest(request).toString("hex").slice(0, 8)}`;
  const from = (request.socket.remoteAddress ?? "?").replace(/^::ffff:/, "");
  return `${from} key ${number} ${request.method} ${request.url.split("?")[0]}`;
}

function digest(text) {
  return createHash("sha256").update(text).digest();
}

/** The text of a chat message, whose content is a string or a list of parts. */
function textOf(message) {
  if (typeof message?.content === "string") return message.content;
  if (!Array.isArray(message?.content)) return "";
  return message.content.map((part) => (typeof part === "string" ? part : (part.text ?? ""))).join("");
}

/**
 * The agent's name as the prompt tells it, or "nobody". OpenClaw appends a line "Runtime: name=Ada | agent=main | ..." to
 * a user message whenever that line has changed, so the newest one holds; a workspace's own files come after it.
 */
function nameIn(messages) {
  const texts = messages.map(textOf);
  const ways = [
    /^Runtime: name=([^|\n]+?) \|/gm,
    /^[-*]?[ \t]*\**Name:\**[ \t]*([^\n*_]+?)[ \t]*$/gm, // a line of IDENTITY.md
  ];
  for (const way of ways) {
    const found = [...texts.join("\n").matchAll(way)].at(-1);
    if (found) return found[1];
  }
  return "nobody";
}

/**
 * What the user typed, oldest first: without the agent's own notes to the model, time stamps and trailers, and without
 * what a channel tells of the sender.
 */
function userTexts(messages) {
  return messages
    .filter((message) => message.role === "user")
    .map(textOf)
    .filter((text) => !text.startsWith("<<<BEGIN_OPENCLAW_INTERNAL_CONTEXT>>>"))
    .map((text) => text.split("\n\nRuntime: ")[0].replace(/^\[[^\]\n]*\]\s*/, ""))
    .map((text) => text.replace(/^Conversation info:[^\n]*\n```json\n[^]*?\n```\s*/, "").trim())
    .filter(Boolean);
}

function answer(body, key) {
  const messages = Array.isArray(body.messages) ? body.messages : [];
  const said = userTexts(messages);
  const last = said.at(-1) ?? "nothing";
  const head = `I am ${nameIn(messages)}, served by ${body.model}, authorised by key ${key}.`;
  // Square and angle brackets mean something to OpenClaw and would be stripped from the reply.
  const tail = last.toLowerCase() === "recall" ? `You told me: ${said.slice(0, -1).join(" | ") || "nothing"}` : `You said: ${last}`;
  return `${head} ${tail}`.replace(/[[\]<>{}]/g, "");
}

function completion(body, text) {
  const promptTokens = Math.ceil(JSON.stringify(body.messages ?? []).length / 4);
  const completionTokens = Math.ceil(text.length / 4);
  return {
    id: `chatcmpl-${createHash("sha256").update(`${Date.now()} ${text}`).digest("hex").slice(0, 24)}`,
    created: Math.floor(Date.now() / 1000),
    model: body.model,
    usage: { prompt_tokens: promptTokens, completion_tokens: completionTokens, total_tokens: promptTokens + completionTokens },
  };
}

function sendJson(response, status, value) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

function sendError(response, status, message, type, code) {
  sendJson(response, status, { error: { message, type, param: null, code } });
}

function sendWhole(response, head, text) {
  sendJson(response, 200, {
    ...head,
    object: "chat.completion",
    choices: [{ index: 0, message: { role: "assistant", content: text }, finish_reason: "stop" }],
  });
}

// The usage chunk comes unasked: OpenClaw does not ask a provider it does not know, and would then count no tokens.
function sendStream(response, { usage, ...head }, text) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  const send = (chunk) => response.write(`data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", ...chunk })}\n\n`);
  const choice = (delta, finish_reason = null) => send({ choices: [{ index: 0, delta, finish_reason }] });
  choice({ role: "assistant", content: "" });
  for (const piece of text.match(/.{1,40}/gsu) ?? []) choice({ content: piece });
  choice({}, "stop");
  send({ choices: [], usage });
  response.end("data: [DONE]\n\n");
}

async function readJson(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > bodyBytesMax) throw new Error("the body is too large");
  }
  return JSON.parse(text);
}

async function handle(request, response) {
  const path = request.url.split("?")[0];
  if (path === "/healthz") return sendJson(response, 200, { ok: true });
  const key = keyNumber(request);
  if (key === 0) return sendError(response, 401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key");
  if (request.method === "GET" && path === "/v1/models") {
    return sendJson(response, 200, { object: "list", data: modelIds.map((id) => ({ id, object: "model", created: 0, owned_by: "claw" })) });
  }
  if (request.method !== "POST" || path !== "/v1/chat/completions") {
    return sendError(response, 404, `Unknown request URL: ${request.method} ${path}.`, "invalid_request_error", "unknown_url");
  }
  let body;
  try {
    body = await readJson(request);
  } catch (error) {
    return sendError(response, 400, `The body is not JSON: ${error.message}`, "invalid_request_error", null);
  }
  const text = answer(body, key);
  const head = completion(body, text);
  if (body.stream) sendStream(response, head, text);
  else sendWhole(response, head, text);
}

const server = createServer(async (request, response) => {
  const asked = summary(request);
  response.on("finish", () => console.log(`${asked} ${response.statusCode}`));
  try {
    await handle(request, response);
  } catch (error) {
    console.error(`cannot answer: ${error.message}`);
    response.destroy();
  }
});
server.listen(port, () => console.log(`model server on port ${port}, ${keys.length} keys`));
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));
