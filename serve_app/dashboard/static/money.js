// What was paid, what the large model alone would have cost, and which lever saved the rest.

import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { count, share, usd, usdBeside } from "./format.js";

const LEVERS = {
  cascade: "Routing and cascade",
  cache: "Response cache",
  prefix: "Prompt cache",
  tier: "Service tier",
};

/** Parts of always-large: what was paid, then each lever. A lever of exactly nothing is left out, the cascade never. */
export function partsOf(totals) {
  const saved = totals.saved_by;
  const levers = Object.entries(LEVERS).map(([part, name]) => ({ part, name, usd: saved[part] }));
  return [
    { part: "paid", name: "Paid", usd: totals.cost_usd },
    ...levers.filter((one) => one.usd !== 0 || one.part === "cascade"),
  ];
}

/** Show the totals of a time range. */
export function showMoney(stats, range) {
  const totals = stats.totals;
  const whole = Math.max(totals.always_large_usd, totals.cost_usd);
  const nothing = totals.queries === 0 && totals.shadows === 0;
  setText(byId("saved-share"), share(totals.saved_share));
  setAttribute(byId("saved-share"), "data-sign", totals.saved_share === null ? "none" : totals.saved_usd < 0 ? "loss" : "gain");
  setText(byId("saved-usd"), nothing ? "–" : usdBeside(totals.saved_usd, whole));
  setText(byId("cost-usd"), nothing ? "–" : usdBeside(totals.cost_usd, whole));
  setText(byId("large-usd"), nothing ? "–" : usdBeside(totals.always_large_usd, whole));
  const parts = partsOf(totals);
  showFlow(nothing ? [] : parts, totals);
  showLevers(nothing ? [] : parts, totals);
  setText(byId("money-note"), noteOf(stats, range, nothing));
}

function showFlow(parts, totals) {
  const flow = byId("flow");
  const drawn = parts.filter((one) => one.usd > 0);
  keyed(flow, drawn, (one) => one.part, (one) => h("span", { "data-part": one.part }), (span, one) => {
    span.style.flexGrow = String(one.usd / Math.max(totals.always_large_usd, totals.cost_usd));
  });
  const said = parts.map((one) => `${one.name} ${usd(one.usd)}`).join(", ");
  setAttribute(flow, "aria-label", said ? `${said}; always-large ${usd(totals.always_large_usd)}` : "No figures yet");
}

function showLevers(parts, totals) {
  const make = (one) => {
    const sum = h("span", {}, "");
    const part = h("span", { class: "share" }, "");
    const item = h("li", { "data-part": one.part });
    item.append(h("span", { class: "swatch", "aria-hidden": "true" }), h("span", { class: "name" }, one.name));
    item.append(h("span", { class: "sum" }, sum, " ", part));
    item.sum = sum;
    item.ofLarge = part;
    return item;
  };
  keyed(byId("levers"), parts, (one) => one.part, make, (item, one) => {
    setText(item.sum, usdBeside(one.usd, Math.max(totals.always_large_usd, totals.cost_usd)));
    setText(item.ofLarge, share(totals.always_large_usd ? one.usd / totals.always_large_usd : null));
  });
}

function noteOf(stats, range, nothing) {
  if (nothing) return `No queries ${range.words}. Ask something, for example: headrace ask "What is a headrace?"`;
  const basis = stats.always_large_basis;
  const measured = `${count(basis.measured)} measured, ${count(basis.estimated)} estimated`;
  const loss = stats.totals.saved_usd < 0 ? "Escalating cost more than the small model saved. " : "";
  return `${loss}Always-large is what the large model alone would have cost ${range.words}: ${measured}.`;
}
