// The grid of workers, by site. Cards stay the same elements while they are there: whoever has the focus
// on one keeps it.

import { drawBar, emptyBar } from "./figures.js";
import { element, isFailing, keep, nameOf, plural, say, sign, stage, stateOf, taskOf, time } from "./words.js";

const sites = document.getElementById("sites");

// Which pause holds a target, if any: "unit", "site" or "everything".
const pausedBy = (pauses, kind, name) => pauses.find((pause) => pause.kind === kind && pause.name === name);

// From this many workers on, each is a line in place of a card, and can be searched for.
const MANY = 30;

const [find, search, found] = ["find", "search", "found"].map((id) => document.getElementById(id));

// Has the list shown again when what is searched for changes; `/` goes there, and Escape shows all.
export function listen(again) {
  find.addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", again);
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    search.value = "";
    again();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, dialog") || event.ctrlKey || event.metaKey || event.altKey;
    if (event.key !== "/" || typing || find.hidden) return;
    event.preventDefault();
    search.select();
    search.focus();
  });
}

// Whether each word that is searched for is in what is seen of a worker.
function matches(worker, words) {
  const seen = [nameOf(worker), worker.unit, stateOf(worker), worker.reason, isFailing(worker) ? "failing" : ""];
  const text = seen.join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

// `actions`: heal, pause, resume, stop and explain, each for a worker or a site. `told`: what the events tell of a worker,
// `healed`, in how much time, and `bar`.
export function show(all, pauses, actions, told) {
  const many = all.length >= MANY;
  find.hidden = !many;
  sites.classList.toggle("compact", many);
  const words = many ? search.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
  const workers = words.length ? all.filter((worker) => matches(worker, words)) : all;
  say(found, words.length ? `${workers.length} of ${all.length}` : "");
  const groups = new Map();
  for (const worker of workers) {
    if (!groups.has(worker.site)) groups.set(worker.site, []);
    groups.get(worker.site).push(worker);
  }
  say(document.getElementById("no-workers"), workers.length ? "" : all.length ? "No worker matches." : "No workers found; see `workerheal check`.");
  keep(
    sites,
    [...groups],
    ([site]) => `site ${site}`,
    ([site]) => group(site, actions),
    (node, [site, members]) => updateGroup(node, site, members, pauses, actions, told),
  );
  tick();
}

function group(site, actions) {
  const title = element("h3", {}, site || "Without a site");
  const count = element("span.faint.count");
  const node = element("section.site", { "aria-label": site || "Without a site" });
  const head = element("div.site-head", {}, title, count);
  if (site) head.append(button("Pause site", `Pause site ${site}`, "pause", () => actions.pauseOrResume(site, node.paused)));
  node.append(head, element("ul.grid"));
  return node;
}

function updateGroup(node, site, members, pauses, actions, told) {
  const failing = members.filter(isFailing).length;
  say(node.querySelector(".count"), failing ? `${failing} of ${members.length} failing` : plural(members.length, "worker"));
  node.paused = Boolean(pausedBy(pauses, "site", site));
  const pause = node.querySelector(".site-head button");
  if (pause) label(pause, `${verb(node)} site`, `${verb(node)} site ${site}`);
  keep(
    node.querySelector(".grid"),
    members,
    (worker) => worker.unit,
    (worker) => card(worker, actions),
    (node, worker) => updateCard(node, worker, pauses, told),
  );
}

function button(text, name, kind, act) {
  const node = element("button", { type: "button", "aria-label": name, "data-act": kind }, text);
  node.addEventListener("click", act);
  return node;
}

const verb = ({ paused }) => (paused ? "Resume" : "Pause");

function label(node, text, name) {
  say(node, text);
  node.setAttribute("aria-label", name);
}

function card(worker, actions) {
  const name = nameOf(worker);
  const node = element("li.card", { "data-unit": worker.unit });
  const state = element("p.state", {}, element("span.sign-place"), element("span.word"));
  const facts = element("p.facts", {}, element("span.wait"), element("span.tries"), element("span.uptime"), element("span.healed"));
  node.append(
    element("div.card-head", {}, element("h4", { title: worker.unit }, taskOf(worker)), state),
    facts,
    element("p.reason"),
    element("p.last-error"),
    emptyBar(),
    element(
      "div.card-actions",
      {},
      button("Heal", `Heal ${name}`, "heal", () => actions.heal(node.worker)),
      button("Pause", `Pause ${name}`, "pause", () => actions.pauseOrResume(node.worker.unit, node.paused, name)),
      button("Stop", `Stop ${name}`, "stop", () => actions.stop(node.worker)),
      button("Explain", `Explain ${name}`, "explain", () => actions.explain(node.worker)),
    ),
  );
  return node;
}

function updateCard(node, worker, pauses, told) {
  node.worker = worker;
  node.paused = Boolean(pausedBy(pauses, "unit", worker.unit));
  say(node.querySelector("h4"), taskOf(worker));
  const [picture, tone] = stage(worker);
  node.dataset.tone = tone;
  const place = node.querySelector(".sign-place");
  if (place.dataset.sign !== picture) {
    place.dataset.sign = picture;
    place.replaceChildren(sign(picture));
  }
  say(node.querySelector(".word"), stateOf(worker));
  say(node.querySelector(".tries"), worker.attempts && worker.phase !== "gave-up" ? plural(worker.attempts, "attempt") : "");
  say(node.querySelector(".last-error"), worker.phase === "up" ? "" : (worker.last_error ?? ""));
  say(node.querySelector(".healed"), worker.phase === "up" ? told.healed(worker) : "");
  drawBar(node.querySelector(".bar"), told.bar(worker));
  const [heal, pause, stop] = node.querySelectorAll("button");
  const busy = ["starting", "proving"].includes(worker.phase);
  heal.hidden = worker.phase === "up" && !isFailing(worker);
  heal.disabled = busy;
  label(pause, verb(node), `${verb(node)} ${nameOf(worker)}`);
  stop.hidden = ["stopped", "down"].includes(worker.phase);
}

// Brings countdowns and uptimes up to date.
export function tick() {
  for (const node of sites.querySelectorAll(".card")) {
    const { worker } = node;
    const [until, reason] = waiting(worker);
    say(node.querySelector(".wait"), until);
    say(node.querySelector(".reason"), reason);
    say(node.querySelector(".uptime"), worker.up_since ? `up ${uptime(worker)}` : "");
    const facts = node.querySelector(".facts");
    facts.hidden = [...facts.children].every((fact) => fact.hidden);
  }
}

// In whole seconds, as it runs.
const uptime = ({ up_since: since }) => time(Math.max(1000, Date.now() - Date.parse(since)));

// What it waits for: until when it is tried again, and why it is not.
function waiting({ phase, until, reason = "" }) {
  if (until === undefined) return ["", reason];
  // In whole seconds, as it runs.
  const left = Math.ceil((until - Date.now()) / 1000) * 1000;
  if (phase === "waiting") return [left > 0 ? `again in ${time(left)}` : "again now", reason];
  return ["", left > 0 && reason ? `${reason}, for another ${time(left)}` : reason];
}
