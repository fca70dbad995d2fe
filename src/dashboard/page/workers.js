// The workers, by site: cards, or lines where there are many. They stay the same elements while they are there:
// the focus stays where it is.

import { drawBar, emptyBar } from "./figures.js";
import { element, isFailing, keep, nameOf, plural, say, sign, stage, stateOf, taskOf, time } from "./words.js";

const [sites, marks, empty] = ["sites", "marks", "no-workers"].map((id) => document.getElementById(id));

// Which pause holds a target, if any: "unit", "site" or "everything".
const pausedBy = (pauses, kind, name) => pauses.find((pause) => pause.kind === kind && pause.name === name);

// From this many workers on, each is a line in place of a card, they can be searched, and sites where nothing fails
// begin collapsed.
const MANY = 30;

const [find, search, found, states, foldAll] = ["find", "search", "found", "states", "fold-all"].map((id) =>
  document.getElementById(id),
);

// The choices of what is shown.
const STATES = {
  all: ["All", () => true],
  failing: ["Failing", isFailing],
  up: ["Up", (worker) => worker.phase === "up" && !isFailing(worker)],
  rest: ["Stopped or held", (worker) => worker.phase !== "up" && !isFailing(worker)],
};
let state = "all";

// The sites that were opened and closed, in the full list and in search results.
const folds = { all: new Map(), narrow: new Map() };
const isNarrow = () => !find.hidden && (state !== "all" || search.value.trim() !== "");
const fold = (site, open) => (isNarrow() ? folds.narrow : folds.all).set(site, open);

// Has the list shown again when something else is to be seen; `/` goes to the search, and Escape shows all. `act` is told
// what is pressed: a kind of action, and the worker or site that it is for.
export function listen(again, act) {
  const narrow = () => {
    folds.narrow.clear();
    again();
  };
  find.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", narrow);
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    search.value = "";
    narrow();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, dialog") || event.ctrlKey || event.metaKey || event.altKey;
    if (event.key !== "/" || typing || find.hidden) return;
    event.preventDefault();
    search.select();
    search.focus();
  });
  states.addEventListener("click", ({ target }) => {
    const chosen = target.closest("button");
    if (!chosen) return;
    state = chosen.dataset.key;
    narrow();
  });
  foldAll.addEventListener("click", () => {
    const open = foldAll.dataset.open !== "true";
    for (const node of sites.children) fold(node.site, open);
    again();
  });
  // One listener for all buttons, of which there may be thousands.
  sites.addEventListener("click", ({ target }) => {
    const pressed = target.closest("button");
    if (!pressed) return;
    const group = pressed.closest(".site");
    if (pressed.dataset.act === "fold") {
      fold(group.site, pressed.getAttribute("aria-expanded") !== "true");
      again();
    } else {
      const { worker, paused } = pressed.closest(".card") ?? {};
      if (worker) act[pressed.dataset.act](worker, paused);
      else act.pauseSite(group.site, group.paused);
    }
  });
}

// Whether each word that is searched for is in what is seen of a worker.
function matches(worker, words) {
  const seen = [nameOf(worker), worker.unit, stateOf(worker), worker.reason, isFailing(worker) ? "failing" : ""];
  const text = seen.join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

// `told`: what the events tell of a worker, `healed`, in how much time, and `bar`.
export function show(all, pauses, told) {
  const many = all.length >= MANY;
  find.hidden = !many;
  sites.classList.toggle("compact", many);
  if (many) showStates(all);
  const narrow = isNarrow();
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const workers = narrow ? all.filter((worker) => STATES[state][1](worker) && matches(worker, words)) : all;
  say(found, narrow ? `${workers.length} of ${all.length}` : "");
  say(empty, workers.length || !all.length ? "" : "No worker matches.");
  const groups = new Map();
  for (const worker of workers) {
    if (!groups.has(worker.site)) groups.set(worker.site, []);
    groups.get(worker.site).push(worker);
  }
  const isOpen = (site, members) => {
    if (narrow || !many || groups.size === 1) return (narrow ? folds.narrow : folds.all).get(site) ?? true;
    // A site that opened automatically stays open, as it may be in use.
    if (!folds.all.has(site) && members.some(isFailing)) folds.all.set(site, true);
    return folds.all.get(site) ?? false;
  };
  let open = 0;
  keep(
    sites,
    [...groups],
    ([site]) => `site ${site}`,
    ([site]) => group(site),
    (node, [site, members]) => {
      node.paused = Boolean(pausedBy(pauses, "site", site));
      const isShown = isOpen(site, members);
      open += isShown;
      updateGroup(node, members, isShown, (card, worker) => updateCard(card, worker, pauses, told));
    },
  );
  marks.hidden = open === 0;
  foldAll.hidden = groups.size < 2;
  foldAll.dataset.open = String(open > 0);
  say(foldAll, open > 0 ? "Collapse all" : "Expand all");
  tick();
}

function showStates(all) {
  const counts = Object.entries(STATES).map(([key, [name, is]]) => ({ key, name, count: all.filter(is).length }));
  keep(
    states,
    counts.filter(({ key, count }) => count > 0 || key === state || key === "all"),
    ({ key }) => key,
    () => element("button", { type: "button" }, element("span"), " ", element("span.count")),
    (node, { key, name, count }) => {
      node.setAttribute("aria-pressed", String(key === state));
      say(node.firstElementChild, name);
      say(node.lastElementChild, String(count));
    },
  );
}

function group(site) {
  const name = site || "Without a site";
  const title = button(name, "", "fold");
  title.removeAttribute("aria-label");
  title.prepend(sign("chevron"));
  const node = element("section.site", { "aria-label": name });
  const head = element("div.site-head", {}, element("h3", {}, title), element("span.faint.count"));
  if (site) head.append(button("Pause site", `Pause site ${site}`, "pause"));
  node.append(head, element("ul.grid"));
  node.site = site;
  return node;
}

function updateGroup(node, members, open, update) {
  const { site } = node;
  const failing = members.filter(isFailing).length;
  const up = members.filter(STATES.up[1]).length;
  const rest = up === members.length ? "all up" : `${up} up`;
  say(node.querySelector(".count"), failing ? `${failing} of ${members.length} failing` : `${plural(members.length, "worker")}, ${rest}`);
  node.querySelector(".count").dataset.tone = failing ? "bad" : "quiet";
  const pause = node.querySelector("[data-act=pause]");
  if (pause) label(pause, `${verb(node)} site`, `${verb(node)} site ${site}`);
  node.querySelector("[data-act=fold]").setAttribute("aria-expanded", String(open));
  const grid = node.querySelector(".grid");
  grid.hidden = !open;
  // What is out of sight is not laid out; this is how much room it takes meanwhile.
  node.style.setProperty("--rows", open ? members.length : 0);
  keep(grid, open ? members : [], (worker) => worker.unit, card, update);
}

const button = (text, name, kind) =>
  element("button", { type: "button", "aria-label": name, "data-act": kind }, text);

const verb = ({ paused }) => (paused ? "Resume" : "Pause");

function label(node, text, name) {
  say(node, text);
  if (node.getAttribute("aria-label") !== name) node.setAttribute("aria-label", name);
}

// The template of all cards: cloning takes a third of the time of creating each.
const PATTERN = element(
  "li.card",
  {},
  element("div.card-head", {}, element("h4"), element("p.state", {}, element("span.sign-place"), element("span.word"))),
  element(
    "div.told",
    {},
    element("p.facts", {}, element("span.wait"), element("span.tries"), element("span.uptime"), element("span.healed")),
    element("p.reason"),
    element("p.last-error"),
  ),
  emptyBar(),
  element("div.card-actions", {}, ...["Heal", "Pause", "Stop", "Explain"].map((name) => button(name, name, name.toLowerCase()))),
);
const PARTS = ["h4", "sign-place", "word", "facts", "wait", "tries", "uptime", "healed", "reason", "last-error", "bar"];

function card(worker) {
  const node = PATTERN.cloneNode(true);
  node.dataset.unit = worker.unit;
  node.parts = Object.fromEntries(PARTS.map((name) => [name, node.querySelector(name === "h4" ? name : `.${name}`)]));
  node.buttons = [...node.querySelectorAll("button")];
  node.parts.h4.title = worker.unit;
  const [heal, , stop, explain] = node.buttons;
  for (const [it, what] of [[heal, "Heal"], [stop, "Stop"], [explain, "Explain"]]) label(it, what, `${what} ${nameOf(worker)}`);
  return node;
}

function updateCard(node, worker, pauses, told) {
  const { parts } = node;
  node.worker = worker;
  node.paused = Boolean(pausedBy(pauses, "unit", worker.unit));
  say(parts.h4, taskOf(worker));
  const [picture, tone] = stage(worker);
  node.dataset.tone = tone;
  const place = parts["sign-place"];
  if (place.dataset.sign !== picture) {
    place.dataset.sign = picture;
    place.replaceChildren(sign(picture));
  }
  say(parts.word, stateOf(worker));
  say(parts.tries, worker.attempts && worker.phase !== "gave-up" ? plural(worker.attempts, "attempt") : "");
  say(parts["last-error"], worker.phase === "up" ? "" : (worker.last_error ?? ""));
  say(parts.healed, worker.phase === "up" ? told.healed(worker) : "");
  drawBar(parts.bar, told.bar(worker));
  const [heal, pause, stop] = node.buttons;
  heal.hidden = worker.phase === "up" && !isFailing(worker);
  heal.disabled = ["starting", "proving"].includes(worker.phase);
  label(pause, verb(node), `${verb(node)} ${nameOf(worker)}`);
  stop.hidden = ["stopped", "down"].includes(worker.phase);
}

// Brings countdowns and uptimes up to date.
export function tick() {
  for (const { worker, parts } of sites.querySelectorAll(".card")) {
    const [until, reason] = waiting(worker);
    say(parts.wait, until);
    say(parts.reason, reason);
    say(parts.uptime, worker.up_since ? `up ${uptime(worker)}` : "");
    parts.facts.hidden = [...parts.facts.children].every((fact) => fact.hidden);
  }
}

// In whole seconds, as it counts down.
const uptime = ({ up_since: since }) => time(Math.max(1000, Date.now() - Date.parse(since)));

// When it is tried again, and why it is held.
function waiting({ phase, until, reason = "" }) {
  if (until === undefined) return ["", reason];
  // In whole seconds, as it counts down.
  const left = Math.ceil((until - Date.now()) / 1000) * 1000;
  if (phase === "waiting") return [left > 0 ? `again in ${time(left)}` : "again now", reason];
  return ["", left > 0 && reason ? `${reason}, for another ${time(left)}` : reason];
}
