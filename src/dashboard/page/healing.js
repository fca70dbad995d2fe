// The banner: the failing workers, the button that heals them, the progress, and the result.

import * as calls from "./calls.js";
import { element, isFailing, keep, nameOf, plural, say, sign, stateOf } from "./words.js";

const [banner, title, more, button, dismiss, failing, progress] = [
  "banner", "banner-title", "banner-more", "heal", "dismiss", "failing", "progress",
].map((id) => document.getElementById(id));

// Maximum number of failing workers in the banner; the list has all of them.
const NAMES = 3;
const LINES = 6;
// How long a success is shown.
const NEWS = 8000;

let unhealthy = [];
let names = new Map();
// Workers that are being healed or were, by unit: {name, step, error}; and the number of heals under way.
const steps = new Map();
let running = 0;
let summary = "";
let tidy;

// Updates the banner. Returns the failing workers.
export function know(workers) {
  unhealthy = workers.filter(isFailing);
  names = new Map(workers.map((worker) => [worker.unit, nameOf(worker)]));
  draw();
  return unhealthy;
}

// Heals the targets, or everything. `refresh` requests the state of the workers, and resolves once it is known.
export async function heal(targets, refresh) {
  clearTimeout(tidy);
  if (running === 0) steps.clear();
  running += 1;
  summary = "";
  const ours = new Map();
  const step = (unit, name, now, error = "") => {
    ours.set(unit, now);
    steps.set(unit, { name, step: now, error });
    draw();
  };
  draw();
  try {
    await calls.heal(targets, ({ name, data }) => {
      if (name === "plan") {
        for (const worker of data.unhealthy) step(worker.unit, nameOf(worker), "in line");
        for (const { worker, reason } of data.left_alone) step(worker.unit, nameOf(worker), "not healed", reason);
      } else if (name === "result") {
        const { healed, failed } = data;
        summary = !healed.length && !failed.length
          ? "There was nothing to heal."
          : `Healed ${plural(healed.length, "worker")}${failed.length ? `, ${failed.length} failed` : ""}.`;
      } else if (name === "error") {
        throw new calls.Refused(503, data.error);
      } else if (data.unit) {
        step(data.unit, names.get(data.unit) ?? data.unit, data.phase, data.error);
      }
    });
    if (!summary) throw new calls.Refused(0, "it ended before the heal was done");
  } catch (error) {
    summary = `How the heal went is not known: ${error.message}.`;
    for (const [unit, now] of ours) {
      if (now === "starting" || now === "in line") steps.get(unit).step = "not known";
    }
  }
  // Otherwise the banner could say that workers were healed and still fail.
  await refresh();
  running -= 1;
  draw();
  if (running === 0 && [...steps.values()].every(({ step }) => step === "healed")) {
    tidy = setTimeout(close, NEWS);
  }
}

function close() {
  if (running) return;
  // An element with the pointer or the focus stays.
  if (banner.matches(":hover, :focus-within") && document.activeElement !== dismiss && document.activeElement !== button) {
    tidy = setTimeout(close, NEWS);
    return;
  }
  steps.clear();
  summary = "";
  draw();
}

dismiss.addEventListener("click", close);

// Connects the button, which heals everything.
export function listen(refresh) {
  button.addEventListener("click", () => running === 0 && heal([], refresh));
}

const STEPS = {
  "in line": ["clock", "quiet", "in line"],
  starting: ["play", "busy", "started, has to stay up"],
  healed: ["check", "good", "healed"],
  failed: ["cross", "bad", "failed"],
  "not healed": ["bars", "quiet", "not healed"],
  "not known": ["question", "bad", "not known"],
};

function draw() {
  const healing = running > 0;
  const told = healing || summary !== "";
  const shown = unhealthy.length > 0 || told;
  if (!shown && banner.contains(document.activeElement)) document.getElementById("main").focus();
  banner.hidden = !shown;
  banner.dataset.tone = healing ? "busy" : unhealthy.length ? "bad" : /failed|not known/.test(summary) ? "bad" : "good";
  if (!shown) {
    say(title, "");
    say(more, "");
  } else if (healing) {
    const done = [...steps.values()].filter(({ step }) => step === "healed" || step === "failed").length;
    const all = [...steps.values()].filter(({ step }) => step !== "not healed").length;
    say(title, "Healing…");
    say(more, all ? `${done} of ${all} done` : "");
  } else if (unhealthy.length) {
    const some = unhealthy.slice(0, NAMES).map(nameOf).join(", ");
    const others = unhealthy.length - NAMES;
    say(title, `${plural(unhealthy.length, "worker")} ${unhealthy.length === 1 ? "is" : "are"} failing`);
    say(more, summary || (others > 0 ? `${some} and ${others} more` : some));
  } else {
    say(title, summary);
    say(more, "");
  }
  button.setAttribute("aria-disabled", String(healing));
  say(button, healing ? "Healing…" : unhealthy.length > 1 ? "Heal all" : unhealthy.length ? "Heal" : "");
  dismiss.hidden = healing || summary === "";
  keep(
    failing,
    told ? [] : unhealthy.slice(0, LINES),
    (worker) => worker.unit,
    () => element("li", {}, sign("cross"), element("span.name"), element("span.word"), element("span.last-error")),
    (node, worker) => {
      say(node.querySelector(".name"), nameOf(worker));
      say(node.querySelector(".word"), stateOf(worker));
      say(node.querySelector(".last-error"), worker.last_error ?? worker.reason ?? "");
    },
  );
  const beyond = told ? 0 : unhealthy.length - LINES;
  say(document.getElementById("failing-more"), beyond > 0 ? `and ${beyond} more, below` : "");
  keep(
    progress,
    told ? [...steps] : [],
    ([unit]) => unit,
    () => element("li", {}, element("span.sign-place"), element("span.name"), element("span.word"), element("span.last-error")),
    (node, [, { name, step, error }]) => {
      const [picture, tone, word] = STEPS[step] ?? STEPS["not known"];
      if (node.dataset.step !== step) node.querySelector(".sign-place").replaceChildren(sign(picture));
      Object.assign(node.dataset, { step, tone });
      say(node.querySelector(".name"), name);
      say(node.querySelector(".word"), word);
      say(node.querySelector(".last-error"), error ?? "");
    },
  );
}
