// A stand-in for Telegram's Bot API, for tests that run real OpenClaw agents without internet.
//
// It knows one bot, takes the first of TELEGRAM_TOKENS until it is told otherwise, and refuses every other. A test talks to
// it at /control, which no bot asks for:
//
//   POST /control/say?text=hello     somebody (user 4711) writes to the bot; the bot reads it with getUpdates
//   POST /control/valid?tokens=1,2   from now on these tokens are taken: 1-based places in TELEGRAM_TOKENS
//   GET  /control/sent               what the bot sent: [{"token": 2, "text": "..."}]
//   GET  /control/asked              how often which token asked, since the last time: {"1": 0, "2": 7, "0": 0}
//
// Environment: TELEGRAM_TOKENS (comma-separated; the first is taken at the start), TELEGRAM_PORT (18991).
// It logs one line per request, with the token's place and never the token; an unknown one has the place 0.

import { createHash, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const port = Number(process.env.TELEGRAM_PORT ?? 18991);
const tokens = (process.env.TELEGRAM_TOKENS ?? "").split(",").map((token) => token.trim()).filter(Boolean);
const bodyBytesMax = 1024 * 1024; // A message has 4096 characters; this only stops a runaway.
const pollSecondsMax = 50; // Telegram's own limit.
const person = { id: 4711, is_bot: false, first_name: "Petr" };
const bot = { id: 1234, is_bot: true, first_name: "Fake", username: "fake_bot", can_join_groups: true };

const state = { valid: new Set([1]), asked: new Map(), sent: [], updates: [], lastUpdate: 0, lastMessage: 0, waiting: new Set() };

function digest(text) {
  return createHash("sha256").update(text).digest();
}

/** The 1-based place of a token in TELEGRAM_TOKENS; 0 when it is not there. */
function placeOf(token) {
  const given = digest(token);
  return tokens.findIndex((one) => timingSafeEqual(digest(one), given)) + 1;
}

function message(from, text) {
  state.lastMessage += 1;
  const chat = { id: person.id, type: "private", first_name: person.first_name };
  return { message_id: state.lastMessage, date: Math.floor(Date.now() / 1000), chat, from, text };
}

/** Waits until there is something to tell, or for as long as the bot asked. */
async function updates({ offset = 0, timeout = 0, limit = 100 }, gone) {
  state.updates = state.updates.filter((update) => update.update_id >= Number(offset));
  const seconds = Math.min(Number(timeout) || 0, pollSecondsMax);
  if (state.updates.length === 0 && seconds > 0) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      const wake = () => {
        clearTimeout(timer);
        state.waiting.delete(wake);
        resolve();
      };
      state.waiting.add(wake);
      gone(wake);
    });
  }
  return state.updates.slice(0, Number(limit) || 100);
}

function wakeAll() {
  for (const wake of [...state.waiting]) wake();
}

/** What a method gives back. Those that only set something up have nothing to say but yes. */
async function call(method, fields, place, gone) {
  switch (method.toLowerCase()) {
    case "getme":
      return bot;
    case "getupdates":
      return await updates(fields, gone);
    case "getwebhookinfo":
      return { url: "", has_custom_certificate: false, pending_update_count: 0 };
    case "sendmessage":
    case "editmessagetext": {
      const told = message(bot, String(fields.text ?? ""));
      if (fields.message_id) told.message_id = Number(fields.message_id);
      state.sent.push({ token: place, text: told.text });
      return told;
    }
    case "getmycommands":
      return [];
    case "getchat":
      return { id: person.id, type: "private", first_name: person.first_name };
    default:
      return true;
  }
}

function control(request, url) {
  switch (`${request.method} ${url.pathname}`) {
    case "POST /control/say":
      state.lastUpdate += 1;
      state.updates.push({ update_id: state.lastUpdate, message: message(person, url.searchParams.get("text") ?? "") });
      wakeAll();
      return { update: state.lastUpdate };
    case "POST /control/valid":
      state.valid = new Set((url.searchParams.get("tokens") ?? "").split(",").map(Number));
      wakeAll(); // whoever waits with a token that is refused now hears of it
      return { valid: [...state.valid] };
    case "GET /control/sent":
      return state.sent;
    case "GET /control/asked": {
      const places = [0, ...tokens.map((_, index) => index + 1)];
      const asked = Object.fromEntries(places.map((place) => [place, state.asked.get(place) ?? 0]));
      state.asked.clear();
      return asked;
    }
    default:
      return undefined;
  }
}

/** The fields of a call: JSON, a form, or the query. */
async function fieldsOf(request, url) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > bodyBytesMax) throw new Error("the body is too large");
  }
  const query = Object.fromEntries(url.searchParams);
  const type = request.headers["content-type"] ?? "";
  if (type.startsWith("application/json")) return { ...query, ...JSON.parse(text || "{}") };
  if (type.startsWith("application/x-www-form-urlencoded")) return { ...query, ...Object.fromEntries(new URLSearchParams(text)) };
  return query;
}

function send(response, status, value) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(value));
}

async function handle(request, response) {
  const url = new URL(request.url, "http://telegram");
  if (url.pathname.startsWith("/control/")) {
    const result = control(request, url);
    return result === undefined ? send(response, 404, { error: "no such control" }) : send(response, 200, result);
  }
  const [, token, method] = /^\/bot([^/]+)\/(\w+)$/.exec(url.pathname) ?? [];
  if (!token) return send(response, 404, { ok: false, error_code: 404, description: "Not Found" });
  const place = placeOf(decodeURIComponent(token));
  state.asked.set(place, (state.asked.get(place) ?? 0) + 1);
  response.on("finish", () => console.log(`token ${place} ${method} ${response.statusCode}`));
  const refuse = () => send(response, 401, { ok: false, error_code: 401, description: "Unauthorized" });
  if (!state.valid.has(place)) return refuse();
  const fields = await fieldsOf(request, url);
  const result = await call(method, fields, place, (wake) => response.on("close", wake));
  if (!state.valid.has(place)) return refuse();
  send(response, 200, { ok: true, result });
}

const server = createServer(async (request, response) => {
  try {
    await handle(request, response);
  } catch (error) {
    console.error(`cannot answer: ${error.message}`);
    response.destroy();
  }
});
server.listen(port, () => console.log(`telegram on port ${port}, ${tokens.length} tokens`));
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => process.exit(0));
