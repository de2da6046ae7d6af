// Asks model providers for something that costs nothing, with keys out of the secret file. Runs inside the agent's own
// container, so that a key goes only where the agent itself would send it. Told over standard input, and says on standard
// output, nothing secret:
//
//   { "file": "/claw/secrets/secrets.json", "seconds": 10, "questions": [{ "url", "header", "key", "words": [] }] }
//   [{ "status": 401, "said": ["words found in the answer"] } | { "failed": "ENOTFOUND" } | { "skipped": true }]

import { readFileSync } from "node:fs";

const textCharactersMax = 65536; // An error fits; of a list of models nothing is read.
const { file, seconds, questions } = JSON.parse(readFileSync(0, "utf8"));
const keys = JSON.parse(readFileSync(file, "utf8"));
const headers = {
  bearer: (key) => ({ authorization: `Bearer ${key}` }),
  anthropic: (key) => ({ "x-api-key": key, "anthropic-version": "2023-06-01" }),
  google: (key) => ({ "x-goog-api-key": key }),
};

/** The beginning of a refusal. */
async function textOf(response) {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > textCharactersMax) break;
  }
  return text;
}

async function ask({ url, header, key, words }) {
  const value = keys[key];
  // a subscription's token is no API key, and is used in another way
  if (typeof value !== "string" || (header === "anthropic" && value.startsWith("sk-ant-oat"))) return { skipped: true };
  try {
    const signal = AbortSignal.timeout(seconds * 1000);
    const response = await fetch(url, { headers: headers[header](value), redirect: "manual", signal });
    if (response.status < 400 || response.status > 499) return { status: response.status, said: [] };
    const text = await textOf(response);
    return { status: response.status, said: words.filter((word) => text.includes(word)) };
  } catch (error) {
    // what has no code is no failure of the network: a key that no header can carry, a port that may not be asked
    const code = error.name === "TimeoutError" ? error.name : error.cause?.code;
    return /^\w{1,40}$/.test(code ?? "") ? { failed: code } : { skipped: true };
  }
}

const answers = await Promise.all(questions.map(ask));
process.stdout.write(`${JSON.stringify(answers)}\n`, () => process.exit(0));
