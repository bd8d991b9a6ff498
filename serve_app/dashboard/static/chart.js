// Cost over time: a bar a step, what was paid below and what was saved above it, and the escalation rate under them.

import { byId, h, redraw, s, setText } from "./dom.js";
import { count, share, usd } from "./format.js";

const EDGE = { top: 8, left: 58, right: 8, gap: 30, rate: 44, foot: 20 };
let shown = null;
let picked = null;

/** Show these steps, as `ranges.perStep` gives them. */
export function showChart(range, steps) {
  if (shown?.range.since !== range.since || shown?.steps.length !== steps.length) picked = null;
  shown = { range, steps };
  draw();
  redraw(byId("chart-rows"), [range.words, steps], () => [...steps].reverse().map((step) => tableRow(range, step)));
}

/** Watch the chart's size, the pointer and the arrow keys. */
export function startChart() {
  const plot = byId("plot");
  new ResizeObserver(draw).observe(plot);
  plot.addEventListener("pointermove", (event) => pick(indexAt(event.clientX - plot.getBoundingClientRect().left)));
  plot.addEventListener("pointerleave", () => pick(null));
  plot.addEventListener("blur", () => pick(null));
  plot.addEventListener("keydown", (event) => {
    if (!shown) return;
    const last = shown.steps.length - 1;
    const to = { ArrowLeft: (picked ?? last + 1) - 1, ArrowRight: (picked ?? -1) + 1, Home: 0, End: last }[event.key];
    if (to === undefined && event.key !== "Escape") return;
    event.preventDefault();
    pick(event.key === "Escape" ? null : Math.max(0, Math.min(last, to)));
    if (picked !== null) setText(byId("chart-said"), sentence(shown.range, shown.steps[picked]));
  });
}

function pick(index) {
  picked = index;
  byId("plot").querySelectorAll(".pick").forEach((rect, at) => rect.classList.toggle("on", at === index));
  readOut();
}

function readOut() {
  if (!shown) return;
  const line = byId("chart-readout");
  const step = picked === null ? null : shown.steps[picked];
  redraw(line, [step, shown.range.words], () =>
    step === null
      ? [h("span", { class: "key" }, "Bars: paid below, saved above it. Line: share of queries escalated.")]
      : [h("b", {}, shown.range.name(step.start)), ` · ${sentence(null, step)}`],
  );
}

function sentence(range, step) {
  const from = range ? `${range.name(step.start)}: ` : "";
  const saved = step.always_large_usd - step.cost_usd;
  return `${from}${count(step.queries)} queries, paid ${usd(step.cost_usd)}, saved ${usd(saved)}, escalated ${share(rateOf(step))}`;
}

const rateOf = (step) => (step.queries ? step.escalated / step.queries : null);

function tableRow(range, step) {
  const figures = [count(step.queries), usd(step.cost_usd), usd(step.always_large_usd), share(rateOf(step))];
  return h("tr", {}, h("td", {}, range.name(step.start)), ...figures.map((text) => h("td", { class: "num" }, text)));
}

function geometry(steps) {
  const { clientWidth: width, clientHeight: height } = byId("plot");
  const inner = width - EDGE.left - EDGE.right;
  return { width, height, inner, slot: inner / steps.length, floor: height - EDGE.foot - EDGE.rate - EDGE.gap };
}

function indexAt(x) {
  if (!shown) return null;
  const { slot } = geometry(shown.steps);
  const index = Math.floor((x - EDGE.left) / slot);
  return index < 0 || index >= shown.steps.length ? null : index;
}

function draw() {
  const plot = byId("plot");
  if (!shown || plot.clientWidth === 0) return;
  const { range, steps } = shown;
  const place = geometry(steps);
  redraw(plot, [range.words, steps, place], () => picture(range, steps, place));
  pick(picked);
}

function picture(range, steps, place) {
  const { width, height, floor } = place;
  const top = niceTop(Math.max(...steps.map((step) => Math.max(step.cost_usd, step.always_large_usd))));
  const up = (dollars) => floor - (dollars / top) * (floor - EDGE.top);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const part of [0, 0.5, 1]) {
    const y = up(part * top);
    svg.append(s("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y, y2: y }));
    svg.append(s("text", { x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, axisUsd(part * top)));
  }
  steps.forEach((step, index) => svg.append(...bars(step, index, place, up)));
  svg.append(...rateLine(steps, place), ...labels(range, steps, place));
  steps.forEach((_, index) =>
    svg.append(s("rect", { class: "pick", x: EDGE.left + index * place.slot, y: 0, width: place.slot, height: height - EDGE.foot, rx: 4 })),
  );
  return svg;
}

function bars(step, index, { slot, floor }, up) {
  const x = EDGE.left + (index + 0.14) * slot;
  const width = Math.max(1, slot * 0.72);
  const radius = Math.min(3, width / 4);
  const bar = (part, low, high) => s("rect", { class: part, x, width, y: up(high), height: Math.max(0, up(low) - up(high)), rx: radius });
  if (step.always_large_usd === 0 && step.cost_usd === 0) return [];
  const paid = Math.min(step.cost_usd, step.always_large_usd);
  const rest = step.cost_usd > step.always_large_usd ? ["over", step.cost_usd] : ["saved", step.always_large_usd];
  return [bar(rest[0], paid, rest[1]), bar("paid", 0, paid)].filter((rect) => Number(rect.getAttribute("y")) <= floor);
}

function rateLine(steps, { width, height, slot }) {
  const floor = height - EDGE.foot;
  const rates = steps.map(rateOf);
  const top = niceTop(Math.max(0.02, ...rates.filter((rate) => rate !== null)));
  const at = (rate, index) => [EDGE.left + (index + 0.5) * slot, floor - (rate / Math.min(1, top)) * (EDGE.rate - 6)];
  const parts = [
    s("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: floor, y2: floor }),
    s("text", { x: EDGE.left - 8, y: floor - EDGE.rate + 12, "text-anchor": "end" }, share(Math.min(1, top))),
    s("text", { x: EDGE.left - 8, y: floor + 2, "text-anchor": "end" }, share(0)),
  ];
  let path = "";
  rates.forEach((rate, index) => {
    if (rate === null) return;
    const [x, y] = at(rate, index);
    path += `${index > 0 && rates[index - 1] !== null ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    const alone = (rates[index - 1] ?? null) === null && (rates[index + 1] ?? null) === null;
    if (alone) parts.push(s("circle", { class: "dot", cx: x, cy: y, r: 2.5 }));
  });
  return [...parts, s("path", { class: "rate", d: path })];
}

function labels(range, steps, { width, height, slot }) {
  const names = steps.map((step) => range.label(step.start));
  const first = steps.map((_, index) => index).filter((index) => index === 0 || names[index] !== names[index - 1]);
  const every = Math.max(1, Math.ceil((first.length * 52) / (width - EDGE.left)));
  return first
    .filter((_, order) => order % every === 0)
    .map((index) => s("text", { x: EDGE.left + (index + 0.5) * slot, y: height - 4, "text-anchor": "middle" }, names[index]));
}

/** The next round figure at or above `value`, for the top of an axis; 1 where there is nothing. */
export function niceTop(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999999);
}

/** Axis labels have room for few digits: "$0.00002" is "20 µ$". */
function axisUsd(value) {
  if (value === 0) return "$0";
  const [scale, unit] = value >= 0.01 ? [1, ""] : value >= 1e-5 ? [1e3, "m"] : [1e6, "µ"];
  const text = Number((value * scale).toPrecision(3)).toLocaleString("en-US", { maximumSignificantDigits: 3 });
  return unit ? `${text} ${unit}$` : `$${text}`;
}
