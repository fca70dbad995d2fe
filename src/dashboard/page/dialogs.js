// The dialogs: why a worker is as it is, with its log; for how long to pause; and whether to stop it.

import * as calls from "./calls.js";
import { element, moment, nameOf, say, sign } from "./words.js";

const explain = document.getElementById("explain");
const pause = document.getElementById("pause");
const stop = document.getElementById("stop");

for (const dialog of [explain, pause, stop]) {
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  // A click beside it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

const MARKS = {
  passes: ["check", "good", "speaks for it"],
  decides: ["cross", "bad", "decides"],
  objects: ["bang", "busy", "speaks against it"],
  finding: ["dot", "quiet", "was found"],
};

export async function showExplanation(worker) {
  const body = document.getElementById("explain-body");
  say(document.getElementById("explain-title"), nameOf(worker));
  body.replaceChildren(element("p.faint", {}, "Asking the daemon…"));
  explain.showModal();
  document.getElementById("explain-title").focus();
  followLog(worker.unit);
  try {
    const told = await calls.get(`/api/workers/${encodeURIComponent(worker.unit)}/explain`);
    body.replaceChildren(...explanation(told));
  } catch (error) {
    body.replaceChildren(element("p.error", { role: "alert" }, error.message));
  }
}

function explanation({ unit, summary, chain, change, last_words: words, log }) {
  const parts = [element("p.answer", {}, summary)];
  const lines = chain.map(({ mark, says, evidence }) => {
    const [picture, tone, word] = MARKS[mark] ?? MARKS.finding;
    const text = element("div", {}, element("span.visually-hidden", {}, `${word}: `), says);
    if (evidence) text.append(element("span.evidence", {}, evidence));
    return element("li", { "data-tone": tone }, sign(picture), text);
  });
  parts.push(element("ul.chain", {}, ...lines));
  if (change.length) {
    parts.push(element("h3", {}, "What you can do"));
    parts.push(element("ul.change", {}, ...change.map((step) => element("li", {}, step))));
  }
  if (words) parts.push(element("h3", {}, "Its last words"), element("p.last-error", {}, words));
  parts.push(element("p.faint.unit", {}, `${unit}; in a terminal: `, element("code", {}, log)));
  return parts;
}

// How many lines of a log are kept.
const LINES = 1000;
let ending = new AbortController();
explain.addEventListener("close", () => ending.abort());

// Shows what a worker logs, as it does, until the dialog is closed.
async function followLog(unit) {
  ending.abort();
  ending = new AbortController();
  const { signal } = ending;
  const [list, note] = ["lines", "lines-note"].map((id) => document.getElementById(id));
  list.replaceChildren();
  say(note, "Nothing has been logged yet.");
  try {
    await calls.log(unit, signal, ({ name, data }) => {
      if (signal.aborted) return;
      if (name === "error") throw new calls.Refused(0, data.error);
      say(note, "");
      // Who reads further up is not taken away from there.
      const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 24;
      list.append(logLine(data));
      while (list.children.length > LINES) list.firstElementChild.remove();
      if (atEnd) list.scrollTop = list.scrollHeight;
    });
    if (!signal.aborted) say(note, "The log has ended.");
  } catch (error) {
    if (!signal.aborted) say(note, `The log does not go on: ${error.message}.`);
  }
}

function logLine({ time, by, text }) {
  const when = time ? element("time", { datetime: time }, moment(Date.parse(time))) : "";
  return element("div", { "data-by": by }, when, by === "workerheal" ? `workerheal: ${text}` : text);
}

// Asks for how long, and pauses: a target, or everything if it is empty.
export function askPause(target, name, done) {
  say(document.getElementById("pause-title"), `Pause ${name}`);
  const problem = document.getElementById("pause-error");
  say(problem, "");
  for (const button of pause.querySelectorAll("[data-for]")) {
    button.onclick = async () => {
      const time = button.dataset.for;
      try {
        await calls.post("/api/pause", { targets: target ? [target] : [], ...(time && { for: time }) });
        pause.close();
        done();
      } catch (error) {
        say(problem, error.message);
      }
    };
  }
  pause.showModal();
  pause.querySelector("[data-for]").focus();
}

// Asks whether to stop a worker, and does.
export function askStop(worker, done) {
  const [yes, no, problem] = ["stop-yes", "stop-no", "stop-error"].map((id) => document.getElementById(id));
  say(document.getElementById("stop-title"), `Stop ${nameOf(worker)}?`);
  say(problem, "");
  yes.disabled = false;
  no.onclick = () => stop.close();
  yes.onclick = async () => {
    yes.disabled = true;
    try {
      const { failed } = await calls.post("/api/stop", { targets: [worker.unit] });
      if (failed.length) throw new Error(failed[0].error);
      stop.close();
      done();
    } catch (error) {
      say(problem, `It is not stopped: ${error.message}.`);
    }
    yes.disabled = false;
  };
  stop.showModal();
  no.focus();
}
