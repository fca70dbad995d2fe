// Words, icons and elements. Text is only ever inserted as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

// An element: element("p.faint", { id: "x" }, "text", child). Nothing in it is read as HTML.
export function element(what, attributes = {}, ...children) {
  const [name, ...classes] = what.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function drawn(name, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Sets a text if it has changed, so that a screen reader reads it once.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
  if (node.hidden !== (text === "")) node.hidden = text === "";
}

// Brings the children of a list in line with items, each of which keeps its element as long as it is there.
export function keep(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let node = old.get(name);
    if (node) old.delete(name);
    else {
      node = make(item);
      node.dataset.key = name;
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
    update?.(node, item);
  }
  for (const node of old.values()) node.remove();
}

// Icons, 16 by 16 units.
const SIGNS = {
  check: "M3.5 8.5l3 3 6-7",
  cross: "M4 4l8 8M12 4l-8 8",
  circle: "M8 3.2a4.8 4.8 0 1 0 0 9.6a4.8 4.8 0 1 0 0-9.6",
  turn: "M12.5 8a4.5 4.5 0 1 1-1.4-3.2M12.6 2.4v2.8h-2.8",
  play: "M5 3.5v9l7-4.5z",
  clock: "M8 2.8a5.2 5.2 0 1 0 0 10.4a5.2 5.2 0 1 0 0-10.4M8 5.2V8l2 1.6",
  bars: "M5.5 3.5v9M10.5 3.5v9",
  square: "M4.5 4.5h7v7h-7z",
  question: "M5.6 6a2.4 2.4 0 1 1 3.4 2.2c-.7.4-1 .8-1 1.6M8 12.4v.2",
  bang: "M8 3v6.2M8 12.4v.2",
  chevron: "M6 4l4 4-4 4",
  dot: "M8 7.2a.8.8 0 1 0 0 1.6a.8.8 0 1 0 0-1.6",
};

export const sign = (name) =>
  drawn("svg", { class: "sign", viewBox: "0 0 16 16", "aria-hidden": "true" }, drawn("path", { d: SIGNS[name] }));

// Stages of a worker: the icon and the severity of each.
const STAGES = {
  up: ["check", "good"],
  down: ["circle", "quiet"],
  changing: ["turn", "busy"],
  due: ["clock", "busy"],
  starting: ["play", "busy"],
  proving: ["turn", "busy"],
  waiting: ["clock", "bad"],
  held: ["bars", "busy"],
  stopped: ["square", "quiet"],
  "gave-up": ["cross", "bad"],
  unknown: ["question", "bad"],
};

export function stage(worker) {
  const [name, tone] = STAGES[worker.phase] ?? STAGES.unknown;
  if (isFailing(worker) && tone !== "bad") return [name === "check" ? "bang" : name, "bad"];
  return [name, worker.phase === "held" && (worker.healthy || worker.on_purpose) ? "quiet" : tone];
}

export const isFailing = (worker) => worker.state !== undefined && !worker.healthy && !worker.on_purpose;
// Whether nothing more is tried for a worker that fails.
export const needsYou = (worker) => isFailing(worker) && ["gave-up", "held", "unknown"].includes(worker.phase);
export const taskOf = ({ worker, worktree }) => (worktree ? `${worker}@${worktree}` : worker);
export const nameOf = (worker) => (worker.site ? `${worker.site}/${taskOf(worker)}` : worker.worker);
export const stateOf = (worker) =>
  worker.state && worker.phase !== "up" ? `${worker.phase} (${worker.state})` : (worker.state ?? worker.phase);

// The phases of events, likewise.
export const PHASES = {
  detected: ["bang", "bad"],
  scheduled: ["clock", "busy"],
  held: ["bars", "busy"],
  starting: ["play", "busy"],
  healed: ["check", "good"],
  failed: ["cross", "bad"],
  "gave-up": ["cross", "bad"],
  recovered: ["check", "good"],
  stopped: ["square", "quiet"],
  done: ["dot", "quiet"],
};

// A time in milliseconds as people say it, to its two largest units.
export function time(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}ms`;
  const seconds = Math.round(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([number]) => number > 0);
  return parts
    .slice(first, first + 2)
    .filter(([number]) => number > 0)
    .map(([number, unit]) => number + unit)
    .join(" ");
}

export const plural = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const HOUR = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

// Times of day in the local time zone; with the date if it is not today.
export const clock = (at) => CLOCK.format(at);
export const hour = (at) => HOUR.format(at);
export const moment = (at) =>
  new Date(at).toDateString() === new Date().toDateString() ? clock(at) : DAY.format(at);
