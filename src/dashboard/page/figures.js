// The strip on top: the last 24 hours in figures.

import { DAY } from "./history.js";
import { element, keep, moment, say, time } from "./words.js";

const strip = document.getElementById("figures");

// Shows them. `since`: from when anything is known.
export function show({ failures, healed, recovered, median, needYou }, workers, since, now) {
  strip.hidden = workers === 0 && failures === 0;
  say(strip.querySelector("h2"), since > now - DAY ? `Since ${moment(since)}` : "Last 24 hours");
  const shown = [
    ["failures", failures === 1 ? "failure" : "failures", String(failures), failures ? "" : "quiet"],
    ["healed", "healed", String(healed), healed ? "good" : "quiet"],
    ["recovered", "recovered", String(recovered), "good"],
    ["median", "median downtime", median === undefined ? "–" : time(median), median === undefined ? "quiet" : ""],
    ["need-you", needYou === 1 ? "needs you" : "need you", String(needYou), needYou ? "bad" : "quiet"],
  ];
  keep(
    strip.querySelector("dl"),
    // What came back by itself is rare.
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
