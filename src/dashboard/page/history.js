// What the events of the last 24 hours tell: the failures of each worker, and figures of all.
// Pure functions: no I/O, no clock, nothing is drawn. Times are in milliseconds.

import { isFailing } from "./words.js";

export const DAY = 24 * 60 * 60 * 1000;

// What was seen of each unit: its failures {from, to, end, tries: [time], gaveUp, downtime, asked}, and when it was
// stopped on purpose, {from, to}; each the oldest first. `end` is healed, recovered, stopped, gave-up, or nothing while it
// is down; `to` is missing until the end is known. `downtime` is the service manager's word. `asked`: it was started
// without having failed.
export function histories(events) {
  const units = new Map();
  for (const { data, at } of events) {
    const { unit, phase, downtime_ms: downtime } = data;
    if (!unit || Number.isNaN(at)) continue;
    if (!units.has(unit)) units.set(unit, { failures: [], stops: [] });
    const { failures, stops } = units.get(unit);
    const stop = stops.at(-1);
    if (stop) stop.to ??= at;
    let open = failures.at(-1);
    if (open?.to !== undefined && open.end !== "gave-up") open = undefined;
    switch (phase) {
      case "detected":
        if (open && open.end === undefined) break;
        if (open) open.to = at;
        failures.push({ from: at, tries: [], end: undefined });
        break;
      case "starting":
        if (!open) failures.push((open = { from: at, tries: [], end: undefined, asked: true }));
        open.tries.push(at);
        break;
      case "healed":
      case "recovered":
        // Its beginning may be older than the events.
        if (!open && downtime !== undefined) failures.push((open = { from: at - downtime, tries: [] }));
        if (open) Object.assign(open, { to: at, end: phase, downtime });
        break;
      case "stopped":
        if (open) Object.assign(open, { to: at, end: phase });
        stops.push({ from: at });
        break;
      case "gave-up":
        if (open) Object.assign(open, { gaveUp: at, end: "gave-up" });
        break;
    }
  }
  return units;
}

const isUp = (worker) => !isFailing(worker) && (worker.phase === "up" || worker.up_since !== undefined);

// Closes what has no end: a worker that is still down is so until now, and one that came back untold was down until it
// was last heard of.
export function close(units, workers, now) {
  const known = new Map(workers.map((worker) => [worker.unit, worker]));
  for (const [unit, { failures, stops }] of units) {
    const up = !known.has(unit) || isUp(known.get(unit));
    for (const failure of failures) failure.to ??= up ? (failure.gaveUp ?? failure.tries.at(-1) ?? failure.from) : now;
    for (const stop of stops) stop.to ??= up ? stop.from : now;
  }
}

// Whether nothing more is tried for a worker that fails.
const needsYou = (worker) => isFailing(worker) && ["gave-up", "held", "unknown"].includes(worker.phase);

// The figures of the last 24 hours. `median` is how long a failure took, missing if that is not known of any.
export function figures(units, workers, now) {
  const begin = now - DAY;
  const all = [...units.values()].flatMap(({ failures }) => failures).filter(({ asked }) => !asked);
  const ended = (how) => all.filter(({ end, to }) => end === how && to >= begin);
  const healed = ended("healed");
  const recovered = ended("recovered");
  const times = [...healed, ...recovered].map(({ downtime }) => downtime).filter((time) => time !== undefined);
  times.sort((a, b) => a - b);
  const middle = times.length >> 1;
  return {
    failures: all.filter(({ from }) => from >= begin).length,
    healed: healed.length,
    recovered: recovered.length,
    median: times.length % 2 ? times[middle] : times.length ? (times[middle - 1] + times[middle]) / 2 : undefined,
    needYou: workers.filter(needsYou).length,
  };
}
