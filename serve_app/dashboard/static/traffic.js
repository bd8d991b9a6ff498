// How much was asked, how much of it went to the large model, how fast the answers were.

import { byId, h, keyed, redraw, s, setAttribute, setText } from "./dom.js";
import { about, count, duration, share } from "./format.js";

const TROUBLE = ["failed", "timed_out", "lost"];

/** Show the tiles. `outcomes` are the groups by outcome, `recent` the totals of the last five minutes. */
export function showTraffic(totals, outcomes, recent) {
  const of = (name) => outcomes.find((group) => group.outcome === name)?.queries ?? 0;
  const troubled = TROUBLE.map((name) => [name.replace("_", " "), of(name)]).filter(([, number]) => number > 0);
  const perMinute = recent.queries / 5;
  const tokens = totals.prompt_tokens + totals.completion_tokens;
  const tiles = [
    ["Queries", about(totals.queries), `${perMinute < 10 ? perMinute.toFixed(1) : count(perMinute)} a minute now`],
    ["Escalated", share(totals.escalation_rate), `${count(totals.escalated)} to the large model`],
    ["Tokens", about(tokens), `${share(totals.prompt_tokens ? totals.cached_tokens / totals.prompt_tokens : null)} of prompts cached`],
    ["From the cache", share(totals.queries ? totals.cache_hits / totals.queries : null), `${count(totals.cache_hits)} answers`],
    ["Left by the client", count(of("cancelled")), share(totals.queries ? of("cancelled") / totals.queries : null)],
    [
      "Not answered",
      count(troubled.reduce((sum, [, number]) => sum + number, 0)),
      troubled.length ? troubled.map(([name, number]) => `${count(number)} ${name}`).join(", ") : "no failure",
      troubled.length ? "bad" : null,
    ],
  ];
  const make = ([name]) => h("div", {}, h("dt", {}, name), h("dd", {}), h("dd", {}));
  keyed(byId("tiles"), tiles, ([name]) => name, make, (tile, [, figure, note, level]) => {
    setText(tile.children[1], figure);
    setText(tile.children[2], note);
    setAttribute(tile.children[2], "data-level", level);
  });
}

const TIMES = [
  ["first_token_ms", "First token"],
  ["ms", "Whole answer"],
];
const MARKS = ["p50", "p95", "p99"];

/** Show percentiles, of all answers together, on one logarithmic scale. */
export function showLatency(totals) {
  const shown = TIMES.map(([name, title]) => ({ title, times: totals[name] }));
  const all = shown.flatMap(({ times }) => MARKS.map((mark) => times[mark])).filter((ms) => ms > 0);
  redraw(byId("latency"), shown, () => {
    if (!all.length) return h("p", { class: "empty" }, "No answer was timed.");
    const low = Math.log(Math.min(...all) / 1.5);
    const high = Math.log(Math.max(...all) * 1.5);
    const at = (ms) => `${(100 * (Math.log(ms) - low)) / (high - low)}%`;
    return shown.map(({ title, times }) => stretch(title, times, at));
  });
}

function stretch(title, times, at) {
  const marks = MARKS.filter((mark) => times[mark] > 0);
  const picture = s("svg", { "aria-hidden": "true" }, s("line", { class: "track", x1: "0%", x2: "100%", y1: "50%", y2: "50%" }));
  if (marks.length) {
    picture.append(s("line", { class: "span", x1: at(times[marks[0]]), x2: at(times[marks.at(-1)]), y1: "50%", y2: "50%" }));
    for (const mark of marks) picture.append(s("circle", { cx: at(times[mark]), cy: "50%", r: "0.38rem" }));
  }
  const figures = MARKS.map((mark) => h("div", {}, h("dt", {}, mark), h("dd", {}, duration(times[mark]))));
  return h("div", { class: "stretch" }, h("h3", {}, title), h("dl", { class: "marks" }, ...figures), picture);
}
