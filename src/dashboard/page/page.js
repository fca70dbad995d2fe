// The page: its state, how the state is updated, and which module draws which part.
//
// An event means that something has changed, and the state is requested again. A request every few seconds finds
// changes without an event. While the daemon is gone, the last known state stays on the page, dimmed.

import * as calls from "./calls.js";
import * as dialogs from "./dialogs.js";
import * as figures from "./figures.js";
import * as healing from "./healing.js";
import * as history from "./history.js";
import * as timeline from "./timeline.js";
import * as grid from "./workers.js";
import { PHASES, clock, element, isFailing, keep, moment, nameOf, plural, say, sign, time } from "./words.js";

// How many events are kept, and shown.
const KEPT = 10_000;
const SHOWN = 100;
// Time between requests: after an event, and without one.
const SOON = 60;
const REGULARLY = 4000;
// Time between attempts to reconnect.
const RETRY = 1000;

const known = { status: undefined, workers: [], events: new Map(), gaps: [], since: undefined, last: "" };
const at = (id) => document.getElementById(id);

const actions = {
  heal: (worker) => healing.heal([worker.unit], refresh),
  stop: (worker) => dialogs.askStop(worker, refresh),
  explain: (worker) => dialogs.showExplanation(worker),
  pause: (worker, paused) => pauseOrResume(worker.unit, paused, nameOf(worker)),
  pauseSite: (site, paused) => pauseOrResume(site, paused),
};

// No target means everything.
async function pauseOrResume(target, paused, name = target) {
  if (!paused) return dialogs.askPause(target, name || "everything", refresh);
  try {
    await calls.post("/api/resume", { targets: target ? [target] : [] });
  } catch (error) {
    tell(error.message);
  }
  refresh();
}

// Requests the state. One request at a time: a call in the meantime leads to another request after it.
let asking;
let again = false;
function refresh() {
  again = true;
  asking ??= askAll().finally(() => (asking = undefined));
  return asking;
}

async function askAll() {
  while (again) {
    again = false;
    try {
      const [status, workers] = await Promise.all([calls.get("/api/status"), calls.get("/api/workers")]);
      const now = Date.now();
      for (const worker of workers) if (worker.retry_in_ms !== undefined) worker.until = now + worker.retry_in_ms;
      await listen(workers);
      learn(status, workers, now);
      here();
      draw();
    } catch (error) {
      gone(error);
    }
  }
}

function learn(status, workers, now) {
  Object.assign(known, { status, workers });
  const start = now - (status.uptime_ms ?? 0);
  known.since = Math.min(known.since ?? start, start);
  if (known.lost && start > known.lost) known.gaps.push([known.lost, start]);
  known.lost = undefined;
}

// What those who fail have logged last says more than how an attempt failed. It takes a look into the journal, so it
// is asked for when something about them has changed, and now and then: the journal may be late.
const AGAIN = 15_000;
const lastWords = { of: "", at: 0, lines: new Map() };
async function listen(workers) {
  const failing = workers.filter(isFailing);
  const of = failing.map(({ unit, phase, attempts, since }) => [unit, phase, attempts, since].join()).join(" ");
  if (of && (of !== lastWords.of || Date.now() - lastWords.at > AGAIN)) {
    lastWords.at = Date.now();
    const told = await calls.get("/api/unhealthy");
    lastWords.lines = new Map(told.map(({ unit, last_error: line }) => [unit, line]));
  }
  lastWords.of = of;
  for (const worker of failing) worker.last_error = lastWords.lines.get(worker.unit) ?? worker.last_error;
}

let soon;
function refreshSoon() {
  soon ??= setTimeout(() => {
    soon = undefined;
    refresh();
  }, SOON);
}

// Follows the events, and reconnects.
async function follow() {
  for (;;) {
    try {
      await calls.follow(known.last, refreshSoon, take);
      refreshSoon();
    } catch (error) {
      gone(error);
    }
    await new Promise((go) => setTimeout(go, RETRY));
  }
}

function take({ name, id, data }) {
  if (name === "gap") {
    known.note = data.error;
    return;
  }
  if (name) return;
  known.last = id;
  known.events.set(id, { id, data, at: Date.parse(data.time) });
  for (const oldest of known.events.keys()) {
    if (known.events.size <= KEPT) break;
    known.events.delete(oldest);
  }
  refreshSoon();
}

function gone({ status, message }) {
  known.lost ??= Date.now();
  const bar = at("gone");
  const title = status === 403 ? "This page is of an earlier dashboard" : status === 0 ? "The dashboard is gone" : "The daemon is gone";
  const hint = status === 403 ? "" : " You see the last that was known; the page goes on by itself.";
  keep(bar, ["title", "why"], (it) => it, (it) => element(it === "title" ? "strong" : "span"));
  say(bar.children[0], title);
  say(bar.children[1], `${sentenceCase(message)}.${hint}`);
  bar.hidden = false;
  document.body.dataset.state = "gone";
  tab("gone", { 0: "Dashboard gone", 403: "Out of date" }[status] ?? "Daemon gone");
  say(at("summary"), known.status ? `last heard of at ${clock(known.lost)}` : "");
  if (!known.status) say(at("no-workers"), "Nothing is known of any worker yet.");
}

const sentenceCase = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function here() {
  if (document.body.dataset.state === "here") return;
  document.body.dataset.state = "here";
  at("gone").hidden = true;
}

function draw() {
  const { status, workers } = known;
  const sites = new Set(workers.map((worker) => worker.site).filter(Boolean)).size;
  const failing = healing.know(workers);
  const where = sites > 0 ? ` on ${plural(sites, "site")}` : "";
  const count = workers.length ? `${plural(workers.length, "worker")}${where}, ` : "";
  say(at("summary"), `${count}watched for ${time(status.uptime_ms ?? 0)}`);
  const paused = status.stop_marker || status.pauses.some(({ kind }) => kind === "everything");
  if (failing.length) tab("failing", `(${failing.length}) failing`);
  else if (paused) tab("paused", "Paused");
  else tab("well");
  notices(status);
  nothing(status, workers);
  drawPast();
  drawWorkers();
}

function drawWorkers() {
  if (known.status) grid.show(known.workers, known.status.pauses, told);
}

// What the events tell, as of the last look: see `history.js`.
let past = { units: new Map() };
const told = {
  // How long the last failure of a worker took, if it came back since.
  healed({ unit }) {
    const { end, downtime } = past.units.get(unit)?.failures.at(-1) ?? {};
    return downtime === undefined ? "" : `${end} in ${time(downtime)}`;
  },
  bar: (worker) => history.bar(past.units.get(worker.unit), worker, past),
};

function lookBack(events) {
  const [now, units] = [Date.now(), history.histories(events)];
  history.close(units, known.workers, now);
  // If older events were dropped, nothing is known about the time before the first.
  const since = events.length < KEPT ? known.since : Math.max(known.since, events[0].at);
  past = { units, now, since, gaps: known.gaps };
}

function notices(status) {
  const all = status.pauses.map((pause) => {
    const what = { everything: "everything", site: `the site ${pause.name}`, unit: called(pause.name) }[pause.kind];
    const left = pause.ends_in_ms === undefined ? "until you resume it" : `for another ${roughly(pause.ends_in_ms)}`;
    return { key: `${pause.kind} ${pause.name ?? ""}`, text: `You paused ${what} ${left}.`, target: pause.name ?? "" };
  });
  if (status.stop_marker) all.unshift({ key: "marker", text: "Everything was stopped on purpose: nothing is healed." });
  if (!status.manager.reachable)
    all.unshift({ key: "manager", bad: true, text: `The service manager cannot be reached, nothing is healed: ${status.manager.error}` });
  if (status.config_error)
    all.unshift({ key: "config", bad: true, text: `The configuration cannot be used, an earlier one is: ${status.config_error}` });
  if (status.registry.error)
    all.unshift({ key: "registry", bad: true, text: `The registry cannot be used, an earlier one is: ${status.registry.error}` });
  for (const warning of status.registry.warnings ?? []) all.push({ key: `registry ${warning}`, text: warning });
  const make = ({ key, bad, target }) => {
    const node = element(`div.notice.${bad ? "bad" : "busy"}`, {}, sign(bad ? "bang" : "bars"), element("p"));
    if (target !== undefined) {
      const resume = element("button", { type: "button", "aria-label": `Resume ${target || "everything"}` }, "Resume");
      resume.addEventListener("click", () => pauseOrResume(target, true));
      node.append(resume);
    }
    return node;
  };
  const had = at("notices").contains(document.activeElement);
  keep(at("notices"), all, ({ key }) => key, make, (node, { text }) => say(node.querySelector("p"), text));
  if (had && document.activeElement === document.body) at("main").focus();
  at("pause-all").hidden = status.pauses.some(({ kind }) => kind === "everything");
}

// The display name of a unit's worker.
function called(unit) {
  const worker = known.workers.find((worker) => worker.unit === unit);
  return worker ? nameOf(worker) : unit;
}

// The sentence of an event, which begins with the unit.
const inWords = ({ unit, text }) => (unit && text.startsWith(unit) ? called(unit) + text.slice(unit.length) : text);

// A long time without its seconds, which do not matter.
const roughly = (ms) => (ms > 90_000 ? time(Math.ceil(ms / 60_000) * 60_000) : time(Math.ceil(ms / 1000) * 1000));

function drawPast() {
  const events = [...known.events.values()];
  lookBack(events);
  if (known.status) figures.show(known.status.last_day, known.workers);
  timeline.show(past, known.workers, Math.max(280, at("timeline").clientWidth));
  const latest = events.slice(-SHOWN).reverse();
  at("no-events").hidden = events.length > 0;
  const note = events.length > SHOWN ? `the latest ${SHOWN} of ${events.length}` : "";
  say(at("log-note"), [note, known.note].filter(Boolean).join("; "));
  keep(at("log"), latest, ({ id }) => id, line);
}

function line({ data }) {
  const [picture, tone] = PHASES[data.phase] ?? PHASES.done;
  const when = Date.parse(data.time);
  return element("li", { "data-tone": tone },
    element("time", { datetime: data.time }, moment(when)),
    sign(picture),
    element("span.word", {}, data.phase),
    element("span.sentence", {}, inWords(data)),
  );
}

// The icon and title of the tab, for a page in the background.
const TABS = {
  well: ["#1f8a55", "M5 17h6l3-8 5 15 3-7h5"],
  failing: ["#c4314b", "M16 6v12M16 25v.5"],
  paused: ["#8a5a00", "M12 9v14M20 9v14"],
  gone: ["#5b616a", "M6 17h20"],
};

function tab(state, word) {
  const title = word ? `${word} – workerheal` : "workerheal";
  if (document.title !== title) document.title = title;
  const [color, shape] = TABS[state];
  const width = state === "well" ? 2.6 : 4;
  const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="9" fill="${color}"/><path d="${shape}" fill="none" stroke="#fff" stroke-width="${width}" stroke-linecap="round" stroke-linejoin="round"/></svg>`;
  const url = `data:image/svg+xml,${encodeURIComponent(picture)}`;
  if (at("icon").href !== url) at("icon").href = url;
}

// Instructions for a machine without workers.
function nothing({ registry, config }, workers) {
  const none = workers.length === 0;
  at("nothing").hidden = !none;
  for (const id of ["past", "events"]) at(id).hidden = none && known.events.size === 0;
  if (!none) return;
  say(
    at("nothing-why"),
    registry.sites
      ? `There ${registry.sites === 1 ? "is" : "are"} ${plural(registry.sites, "site")} in ${registry.path}, but none of their workers is known to the service manager.`
      : `There are no sites in ${registry.path}, and no units in ${config}.`,
  );
  say(at("nothing-config"), config);
}

let quiet;
function tell(text) {
  say(at("said"), text);
  clearTimeout(quiet);
  quiet = setTimeout(() => say(at("said"), ""), 6000);
}

healing.listen(refresh);
grid.listen(drawWorkers, actions);
tab("well");
at("pause-all").addEventListener("click", () => pauseOrResume("", false));
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(drawPast, 100);
});
// Another token in another tab is this one's too: a later dashboard at the same address.
addEventListener("storage", refresh);
document.addEventListener("visibilitychange", () => document.hidden || refresh());
setInterval(() => document.hidden || grid.tick(), 1000);
setInterval(refresh, REGULARLY);
refresh();
follow();
