// The timeline of failures and heals: what the events of the last 24 hours make of each worker, drawn, and as a
// table that can be read aloud.

import { DAY, timeDown } from "./history.js";
import { drawn, element, hour, moment, nameOf, plural, say, time } from "./words.js";

const MINUTE = 60 * 1000;
// Minimum time span: a daemon that was just started knows no more.
const LEAST = 5 * MINUTE;
// Intervals between grid lines; the first with enough room is used.
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360].map((minutes) => minutes * MINUTE);
const ROW = 30;
const TOP = 22;
// Maximum number of workers that are drawn; the table has all.
const ROWS = 24;

// Draws it. `units`: what was seen of each, closed; `since`: from when anything is known; `gaps`: [from, to] of which
// nothing is.
export function show({ units, since, gaps, now }, workers, width) {
  const known = new Map(workers.map((worker) => [worker.unit, worker]));
  const rows = [];
  for (const [unit, { failures }] of units) {
    const worker = known.get(unit);
    const recent = failures.filter(({ to, asked }) => to > now - DAY && !asked);
    if (recent.length) rows.push({ unit, name: worker ? nameOf(worker) : unit, list: recent });
  }
  rows.sort((a, b) => a.name.localeCompare(b.name));
  const begin = Math.min(Math.max(since ?? 0, now - DAY), now - LEAST);
  const young = since !== undefined && since > now - DAY;
  say(document.getElementById("known"), young ? `since ${moment(since)}, when the daemon started` : "in the last 24 hours");
  for (const id of ["legend", "timeline-details"]) document.getElementById(id).hidden = rows.length === 0;
  const place = document.getElementById("timeline");
  if (!rows.length) {
    place.replaceChildren(element("p.empty", {}, "No worker has failed."));
    return;
  }
  place.replaceChildren(picture(rows.slice(0, ROWS), begin, now, young ? [...gaps, [begin, since]] : gaps, width));
  if (rows.length > ROWS) place.append(element("p.faint", {}, `and ${rows.length - ROWS} more, in the table`));
  table(rows, now);
}

function picture(rows, begin, now, blind, width) {
  const narrow = width < 560;
  // Room for names, and for the marks of what was just now.
  const left = narrow ? 6 : 170;
  const right = width - 8;
  const step = narrow ? ROW + 16 : ROW;
  const height = TOP + rows.length * step + 4;
  const x = (at) => left + ((Math.max(at, begin) - begin) / (now - begin)) * (right - left);
  const total = rows.reduce((sum, { list }) => sum + list.length, 0);
  const svg = drawn("svg", {
    role: "img",
    "aria-label": `${plural(total, "failure")} of ${plural(rows.length, "worker")}; the table says when`,
    viewBox: `0 0 ${width} ${height}`, width, height,
  });
  for (const at of lines(begin, now, (right - left) / 80)) {
    svg.append(drawn("line", { class: "hour", x1: x(at), x2: x(at), y1: TOP - 4, y2: height }));
    if (x(at) < 20 || x(at) > width - 20) continue;
    svg.append(drawn("text", { class: "axis", x: x(at), y: 12, "text-anchor": "middle" }, hour(at)));
  }
  rows.forEach(({ name, list }, index) => {
    const y = TOP + index * step + (narrow ? 16 : 0);
    const label = narrow ? { x: 0, y: y + 2 } : { x: 0, y: y + ROW / 2 + 4 };
    svg.append(drawn("text", { class: "row", ...label }, fit(name, narrow ? Math.floor(width / 8) : 22)));
    const bar = (kind, start, end) =>
      drawn("rect", { class: kind, x: x(start), y: y + 7, width: Math.max(3, x(end) - x(start)), height: ROW - 14, rx: 2 });
    svg.append(bar("quiet", begin, now));
    for (const [start, end] of blind) if (end > begin) svg.append(bar("unknown", start, end));
    for (const failure of list) {
      svg.append(bar(failure.end === "stopped" ? "stopped" : "down", ...timeDown(failure)));
      for (const at of failure.tries) {
        if (at > begin) svg.append(drawn("rect", { class: "trying", x: x(at), y: y + 5, width: 4, height: ROW - 10 }));
      }
    }
    // Drawn last, so that nothing covers them.
    for (const { end, to, gaveUp } of list) {
      if (end === "healed" || end === "recovered") svg.append(drawn("circle", { class: "healed", cx: x(to), cy: y + ROW / 2, r: 5 }));
      if (gaveUp && gaveUp > begin) {
        const [cx, cy] = [x(gaveUp), y + ROW / 2];
        svg.append(drawn("path", { class: "gave-up", d: `M${cx - 4} ${cy - 4}l8 8m0-8l-8 8` }));
      }
    }
  });
  return svg;
}

// Times of grid lines: round local times, up to a maximum number.
function lines(begin, now, most) {
  const every = STEPS.find((step) => (now - begin) / step <= most) ?? STEPS.at(-1);
  const midnight = new Date(begin).setHours(0, 0, 0, 0);
  const times = [];
  for (let at = midnight + Math.ceil((begin - midnight) / every) * every; at <= now; at += every) times.push(at);
  return times;
}

const fit = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

const ENDS = { healed: "healed", recovered: "recovered", stopped: "stopped by hand", "gave-up": "given up" };

function table(rows, now) {
  const lines = rows.flatMap(({ name, list }) => list.map((failure) => ({ name, ...failure })));
  lines.sort((a, b) => b.from - a.from);
  const body = document.querySelector("#timeline-table tbody");
  body.replaceChildren(
    ...lines.slice(0, 200).map(({ name, ...failure }) => {
      const { to, end, tries } = failure;
      const [down, up] = timeDown(failure);
      return element("tr", {},
        element("th", { scope: "row" }, name),
        element("td", {}, moment(down)),
        element("td", {}, time(up - down)),
        element("td", {}, String(tries.length)),
        element("td", {}, ENDS[end] ?? (to === now ? "still down" : "not known")),
      );
    }),
  );
}
