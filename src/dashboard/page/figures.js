// The last 24 hours in figures, on top, and as a bar for each worker.

import { DAY, MARKS } from "./history.js";
import { drawn, element, keep, moment, needsYou, plural, say, time } from "./words.js";

const strip = document.getElementById("figures");

// Shows the figures, which are the daemon's, and how many workers need you.
export function show({ since, failures, healed, recovered, median_downtime_ms: median }, workers) {
  const needYou = workers.filter(needsYou).length;
  strip.hidden = workers.length === 0 && failures === 0;
  say(strip.querySelector("h2"), since ? `Since ${moment(Date.parse(since))}` : "Last 24 hours");
  const shown = [
    ["failures", failures === 1 ? "failure" : "failures", String(failures), failures ? "" : "quiet"],
    ["healed", "healed", String(healed), healed ? "good" : "quiet"],
    ["recovered", "recovered", String(recovered), "good"],
    ["median", "median downtime", median === undefined ? "–" : time(median), median === undefined ? "quiet" : ""],
    ["need-you", needYou === 1 ? "needs you" : "need you", String(needYou), needYou ? "bad" : "quiet"],
  ];
  keep(
    strip.querySelector("dl"),
    // Recoveries without a heal are rare.
    shown.filter(([key]) => key !== "recovered" || recovered > 0),
    ([key]) => key,
    () => element("div", {}, element("dt"), element("dd")),
    (node, [, name, figure, tone]) => {
      say(node.firstElementChild, name);
      say(node.lastElementChild, figure);
      node.dataset.tone = tone;
    },
  );
}

// Width of a mark, gap between marks, and height, in pixels.
const WIDE = 5;
const GAP = 1.25;
const HIGH = 16;
// The parts of a mark, from top to bottom: where each begins, and its height. Even a short failure is visible.
const LEAST = 6;
const SHAPES = {
  up: () => [["up", 0, HIGH]],
  stopped: () => [["stopped", HIGH / 2, HIGH / 2]],
  unknown: () => [["unknown", HIGH - 2, 2]],
  down: (share, rest) => {
    const down = share > 0.95 ? HIGH : Math.max(LEAST, Math.round(share * HIGH));
    return [...(rest === "up" ? [["up", 0, Math.max(0, HIGH - down - 1)]] : []), ["down", HIGH - down, down]];
  },
};

// An empty bar. It has at most three paths for all marks, as there may be a thousand bars.
export function emptyBar() {
  const view = { viewBox: `0 0 ${MARKS * WIDE - GAP} ${HIGH}`, preserveAspectRatio: "none" };
  return drawn("svg", { class: "bar", role: "img", ...view }, drawn("title"));
}

// Draws the result of `history.bar`, if it has changed.
export function drawBar(svg, { marks, down, known, failures }) {
  const title = svg.firstElementChild;
  const words = inWords(down, known, failures);
  if (title.textContent !== words) title.textContent = words;
  const key = marks.map((mark) => (typeof mark === "string" ? mark : Math.ceil(mark.down * HIGH) + mark.rest)).join();
  if (svg.dataset.marks === key) return;
  svg.dataset.marks = key;
  const paths = {};
  marks.forEach((mark, at) => {
    const shapes = typeof mark === "string" ? SHAPES[mark]() : SHAPES.down(mark.down, mark.rest);
    for (const [kind, y, height] of shapes) {
      paths[kind] = `${paths[kind] ?? ""}M${at * WIDE} ${y}h${WIDE - GAP}v${height}h${GAP - WIDE}z`;
    }
  });
  svg.replaceChildren(title, ...Object.entries(paths).map(([kind, d]) => drawn("path", { class: kind, d })));
}

function inWords(down, known, failures) {
  if (known === 0) return "Nothing is known of the last 24 hours";
  // What is known up to now, to a minute.
  const when = known > DAY - DAY / MARKS - 60_000 ? "the last 24 hours" : `the ${time(known)} that are known`;
  return failures ? `Down for ${time(down)} of ${when}, in ${plural(failures, "failure")}` : `No failure in ${when}`;
}
