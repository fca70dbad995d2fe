// Calls to the dashboard: the token, answers as JSON, and streams of server-sent events.
//
// Streams are read with fetch rather than EventSource, which can bring no token along.

// How long a stream may say nothing: it gives a sign of life every 10 s.
const SILENCE = 25_000;
const PATIENCE = 35_000;

// An answer that is no success. `status` 0: there was none.
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const headers = (more) => ({ "x-workerheal-token": localStorage.getItem("token") ?? "", ...more });

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options });
  } catch {
    throw new Refused(0, "`workerheal dashboard` does not answer; it may have been ended");
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, body.error ?? `${answer.status} ${answer.statusText}`);
}

async function whole(path, options) {
  try {
    const answer = await ask(path, { signal: AbortSignal.timeout(PATIENCE), ...options });
    return await answer.json();
  } catch (error) {
    throw error instanceof Refused ? error : new Refused(0, "the answer did not arrive");
  }
}

const posting = (body) => ({
  method: "POST",
  headers: headers({ "content-type": "application/json" }),
  body: JSON.stringify(body),
});

export const get = (path) => whole(path, { headers: headers() });
export const post = (path, body) => whole(path, posting(body));

// Follows the events after an id, until the stream ends or breaks. `take` gets {name, id, data}.
export async function follow(after, begun, take) {
  const path = after ? `/api/events?after=${encodeURIComponent(after)}` : "/api/events";
  await read(path, { headers: headers() }, begun, take);
}

// Heals, and tells each step to `take`.
export const heal = (targets, take) => read("/api/heal", posting({ targets }), () => {}, take);

// Follows the log of a unit until `end`, a signal, is aborted.
export async function log(unit, end, take) {
  const path = `/api/workers/${encodeURIComponent(unit)}/log`;
  await read(path, { headers: headers(), signal: end }, () => {}, take);
}

async function read(path, { signal, ...options }, begun, take) {
  const silence = new AbortController();
  signal?.addEventListener("abort", () => silence.abort());
  let timer = setTimeout(() => silence.abort(), SILENCE);
  try {
    const answer = await ask(path, { ...options, signal: silence.signal });
    begun();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = new Parser(take);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE);
      parser.feed(value);
    }
  } catch (error) {
    throw error instanceof Refused ? error : new Refused(0, "the connection to `workerheal dashboard` broke");
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

// Takes server-sent events apart, as they come from the dashboard: one line of data each.
class Parser {
  #rest = "";
  #message = {};
  #take;

  constructor(take) {
    this.#take = take;
  }

  feed(text) {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") {
      const { name = "", id = "", data } = this.#message;
      this.#message = {};
      if (data !== undefined) this.#take({ name, id, data: JSON.parse(data) });
    } else if (line.startsWith("event: ")) {
      this.#message.name = line.slice(7);
    } else if (line.startsWith("id: ")) {
      this.#message.id = line.slice(4);
    } else if (line.startsWith("data: ")) {
      this.#message.data = line.slice(6);
    }
  }
}
