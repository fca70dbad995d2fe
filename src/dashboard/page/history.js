// What the events of the last 24 hours tell: the failures of each worker, and when each was down.
// Pure functions: no I/O, no clock, nothing is drawn. Times are in milliseconds.

import { isFailing } from "./words.js";

const MINUTE = 60 * 1000;
export const DAY = 24 * 60 * MINUTE;
// A bar of a worker has a mark for each half hour.
export const MARKS = 48;
const MARK = DAY / MARKS;

// What was seen of each unit: its failures {from, to, end, tries: [time], gaveUp, downtime, asked}, and when it was
// stopped on purpose, {from, to}; each the oldest first. `end` is healed, recovered, stopped, gave-up, or nothing while it
// is down; `to` is missing until the end is known. `downtime` is the service manager's word. `asked`: it was started
// without having failed.
export function histories(events) {
  const units = new Map();
  for (const { data, at } of events) {
    const { unit, phase, reason, downtime_ms: downtime } = data;
    if (!unit || Number.isNaN(at)) continue;
    if (!units.has(unit)) units.set(unit, { failures: [], stops: [] });
    const { failures, stops } = units.get(unit);
    const stop = stops.at(-1);
    const rested = stop !== undefined && stop.to === undefined;
    if (stop) stop.to ??= at;
    let open = failures.at(-1);
    if (open?.to !== undefined && open.end !== "gave-up") open = undefined;
    switch (phase) {
      case "detected":
        if (open) open.asked = false;
        if (open && open.end === undefined) break;
        if (open) open.to = at;
        // What was stopped and is started by hand has not failed.
        failures.push({ from: at, tries: [], end: undefined, asked: rested && reason === "expected-but-stopped" });
        break;
      case "starting":
        if (!open) failures.push((open = { from: at, tries: [], end: undefined, asked: true }));
        open.tries.push(at);
        break;
      case "healed":
      case "recovered":
        // It may have begun before the first event.
        if (!open && downtime !== undefined) failures.push((open = { from: at - downtime, tries: [] }));
        if (open) Object.assign(open, { to: at, end: phase, downtime });
        break;
      case "stopped":
        if (open) Object.assign(open, { to: at, end: phase });
        stops.push({ from: at });
        break;
      case "failed":
        if (open) open.asked = false;
        break;
      case "gave-up":
        if (open) Object.assign(open, { gaveUp: at, end: "gave-up", asked: false });
        break;
    }
  }
  return units;
}

const isUp = (worker) => !isFailing(worker) && (worker.phase === "up" || worker.up_since !== undefined);

// Closes what has no end: a worker that is still down is so until now, and one that came back unreported was down until it
// was last heard of.
export function close(units, workers, now) {
  const known = new Map(workers.map((worker) => [worker.unit, worker]));
  for (const [unit, { failures, stops }] of units) {
    const up = !known.has(unit) || isUp(known.get(unit));
    for (const failure of failures) failure.to ??= up ? (failure.gaveUp ?? failure.tries.at(-1) ?? failure.from) : now;
    for (const stop of stops) stop.to ??= up ? stop.from : now;
  }
}

// The last 24 hours of a worker in half hours, of which the last is under way: `marks` has for each "up" (it was watched,
// and no failure was seen), "stopped" or "unknown"; or {down, rest}, for which share of it it was down, and which of these
// it was else. `down` and `known` are totals. `since`: from when the daemon has watched; `gaps`: [from, to] when none did.
export function bar(history, worker, { since, gaps, now }) {
  const { failures: all = [], stops = [] } = history ?? {};
  const failures = all.filter(({ asked }) => !asked);
  const upSince = worker.up_since ? Date.parse(worker.up_since) : undefined;
  const last = Math.max(...failures.map(({ to }) => to), ...stops.map(({ to }) => to), -Infinity);
  // Of a worker that rests it is not known since when, unless its last stop was told.
  const until = isUp(worker) || isFailing(worker) ? now : last;
  const watched = [[Math.min(since ?? now, upSince ?? now), until]];
  for (const [from, to] of gaps) {
    const [begin, end] = watched.pop();
    watched.push([begin, Math.min(from, end)], [Math.min(to, upSince ?? to), end]);
  }
  const told = failures.filter(({ downtime }) => downtime !== undefined).map(timeDown);
  const known = union([...watched, ...told]);
  const end = Math.ceil(now / MARK) * MARK;
  const shares = (intervals) => share(intervals, end - DAY, now);
  const [knows, down, stopped] = [
    shares(known),
    shares(common(union(failures.map(timeDown)), known)),
    shares(stops.map(({ from, to }) => [from, to])),
  ];
  const marks = knows.map((some, at) => {
    const length = Math.min(MARK, now - (end - DAY + at * MARK)) || 1;
    // The current state is known even right after the start.
    const rest = some >= length / 2 || (at === MARKS - 1 && some > down[at]) ? "up" : "unknown";
    if (down[at] > 0) return { down: Math.min(1, down[at] / length), rest };
    return stopped[at] >= length / 2 ? "stopped" : rest;
  });
  const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
  return { marks, down: sum(down), known: sum(knows), failures: failures.filter(({ to }) => to > end - DAY).length };
}

// When a worker was down: a failure ends later, once the worker has stayed up, and may be older than the first word of it.
export function timeDown({ from, to, downtime }) {
  if (downtime === undefined) return [from, to];
  const end = Math.min(to, from + downtime);
  return [end - downtime, end];
}

// Intervals [from, to] in order and without overlaps; empty ones are left out.
function union(intervals) {
  const result = [];
  for (const [from, to] of intervals.filter(([from, to]) => to > from).sort((a, b) => a[0] - b[0])) {
    const before = result.at(-1);
    if (before && from <= before[1]) before[1] = Math.max(before[1], to);
    else result.push([from, to]);
  }
  return result;
}

// The intersection.
function common(some, others) {
  const result = [];
  let first = 0;
  for (const [from, to] of some) {
    while (first < others.length && others[first][1] <= from) first += 1;
    for (let at = first; at < others.length && others[at][0] < to; at += 1) {
      result.push([Math.max(from, others[at][0]), Math.min(to, others[at][1])]);
    }
  }
  return result;
}

// How much of each mark from `begin` on the intervals cover.
function share(intervals, begin, now) {
  const marks = new Array(MARKS).fill(0);
  for (const [start, end] of intervals) {
    let from = Math.max(start, begin);
    for (const to = Math.min(end, now); from < to; ) {
      const at = Math.floor((from - begin) / MARK);
      const next = Math.min(to, begin + (at + 1) * MARK);
      marks[at] += next - from;
      from = next;
    }
  }
  return marks;
}
