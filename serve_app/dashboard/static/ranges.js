// Time ranges, and the steps that a chart of each is drawn in. They begin with a whole step of this browser's zone.

import { dayAndHour, dayOf, hourOf, weekdayOf } from "./format.js";

const HOUR_S = 3600;
const startOfHour = (now) => now.setMinutes(0, 0, 0);
const startOfDay = (now) => now.setHours(0, 0, 0, 0);

function daysBefore(now, days) {
  startOfDay(now);
  return now.setDate(now.getDate() - days);
}

const RANGES = {
  day: {
    words: "in the last 24 hours",
    since: (now) => startOfHour(now) - 23 * HOUR_S * 1000,
    step: (start) => start + HOUR_S,
    label: (start) => hourOf(start),
    name: (start) => hourOf(start),
  },
  week: {
    words: "in the last 7 days",
    since: (now) => daysBefore(now, 6),
    step: (start) => start + 6 * HOUR_S,
    label: (start) => weekdayOf(start),
    name: (start) => dayAndHour(start),
  },
  month: {
    words: "in the last 30 days",
    since: (now) => daysBefore(now, 29),
    step: (start) => new Date(start * 1000).setDate(new Date(start * 1000).getDate() + 1) / 1000, // days have 23 to 25 h
    label: (start) => dayOf(start),
    name: (start) => dayOf(start),
  },
};

/** The range of this name, from `nowMs` back: {words, since_s, label, name, steps: [start in epoch seconds]}. */
export function rangeOf(name, nowMs) {
  const range = RANGES[name];
  const since = range.since(new Date(nowMs)) / 1000;
  const steps = [];
  for (let start = since; start * 1000 <= nowMs; start = range.step(start)) steps.push(start);
  return { ...range, since, steps };
}

const SUMMED = ["queries", "cost_usd", "always_large_usd", "escalated"];

/** Sum hourly groups into the range's steps. */
export function perStep(range, hourly) {
  const sums = range.steps.map((start) => ({ start, ...Object.fromEntries(SUMMED.map((name) => [name, 0])) }));
  for (const group of hourly) {
    const index = Math.max(0, sums.findLastIndex((one) => one.start <= group.hour)); // zones may be off by half an hour
    for (const name of SUMMED) sums[index][name] += group[name];
  }
  return sums;
}
