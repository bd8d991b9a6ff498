// Each route: what it costs, what was promised of its answers, and what the audits found so far.

import { byId, h, keyed, redraw, s, setAttribute, setText } from "./dom.js";
import { about, count, duration, plural, share } from "./format.js";

const STATES = {
  ok: ["ok", "within target"],
  drifting: ["warn", "drifting"],
  breached: ["bad", "target broken"],
  no_target: ["idle", "no target"],
};
const DRIFTS = { moderate: "has moved", major: "has moved far" };

/** Show the routes of the configuration and those that answered queries. `groups`: statistics by route, null if unknown. */
export function showRoutes(routes, groups, cascade) {
  const named = new Map(routes.map((route) => [route.route, { ...route, group: null }]));
  for (const group of groups ?? []) {
    const known = named.get(group.route) ?? { route: group.route, adapter: null, state: "no_target", audit: null };
    named.set(group.route, { ...known, group });
  }
  const busiest = [...named.values()].sort((one, other) => (other.group?.queries ?? 0) - (one.group?.queries ?? 0));
  keyed(byId("routes"), busiest, (one) => String(one.route), makeRoute, updateRoute);
  setText(byId("routes-note"), noteOf(cascade, busiest.length));
}

const MODES = {
  absent: "This graph has no cascade: every query is answered by the model that was asked for.",
  off: "The cascade is switched off: the small model answers alone.",
  mirror: "Shadow mode: the large model answers; a share of the queries is also run through the cascade.",
};
const ON_BREACH = { alert: "only an alert", tighten: "a stricter threshold", escalate_all: "the large model answers all" };

function noteOf(cascade, number) {
  if (MODES[cascade.mode]) return MODES[cascade.mode];
  const audits = cascade.audit_share ? `${share(cascade.audit_share)} of accepted answers are audited` : "audits are switched off";
  if (!cascade.policy) return `A plain threshold decides, so no quality target is promised; ${audits}.`;
  return number ? `Risk is the share of accepted answers that are wrong; ${audits}. On a breach: ${ON_BREACH[cascade.on_breach]}.` : "No routes.";
}

function makeRoute(route) {
  const state = h("span", { class: "chip" });
  const to = h("p", { class: "to" });
  const audit = h("div", { class: "audit" });
  const figures = ["Queries", "Escalated", "Saved", "p95"].map((name) => h("div", {}, h("dt", {}, name), h("dd", {})));
  const item = h("li", { class: "route" });
  item.append(h("header", {}, h("h3", {}, route.route ?? "not routed"), state), to, audit, h("dl", {}, ...figures));
  return Object.assign(item, { state, to, audit, figures });
}

function updateRoute(item, { adapter, state, audit, group }) {
  const [level, words] = STATES[state];
  setAttribute(item, "data-level", level);
  setAttribute(item.state, "data-level", level);
  setText(item.state, words);
  setText(item.to, adapter === null ? "base, no adapter" : `adapter ${adapter}`);
  redraw(item.audit, audit, () => (audit ? [riskPicture(audit), ...findings(audit)] : []));
  const texts = [about(group?.queries ?? 0), share(group?.escalation_rate), share(group?.saved_share), duration(group?.ms.p95)];
  item.figures.forEach((figure, index) => setText(figure.children[1], texts[index]));
}

function riskPicture({ target, risk_low: low, risk_high: high }) {
  const top = Math.min(1, Math.max(target * 2, Math.min(high, target * 4)) * 1.05);
  const at = (risk) => `${Math.min(100, (100 * risk) / top)}%`;
  const line = (name, from, to) => s("line", { class: name, x1: from, x2: to, y1: "50%", y2: "50%" });
  return s(
    "svg",
    { role: "img", "aria-label": `Risk between ${share(low)} and ${share(high)}, target ${share(target)}` },
    line("track", "0%", "100%"),
    line("bounds", at(low), at(high)),
    s("line", { class: "goal", x1: at(target), x2: at(target), y1: "5%", y2: "95%" }),
  );
}

function findings(audit) {
  const wrong = `${plural(audit.num_audited, "audit", "audits")}, ${count(audit.num_wrong)} wrong`;
  const bounds = audit.num_audited ? `risk ${share(audit.risk_low)} to ${share(audit.risk_high)}` : "risk not known yet";
  const evidence = Math.max(0, audit.log_e_value / audit.log_alarm);
  const rest = [
    audit.epoch ? `tightened ${plural(audit.epoch, "time", "times")}` : null,
    audit.num_not_scored ? `${count(audit.num_not_scored)} could not be judged` : null,
    ...audit.drift.filter(({ level }) => DRIFTS[level]).map(({ signal, level }) => `${signal.replaceAll("_", " ")} ${DRIFTS[level]}`),
  ].filter((text) => text !== null);
  return [
    h("p", { class: "said" }, `Target ≤ ${share(audit.target)} wrong · ${bounds}`),
    h("p", { class: "said" }, `${wrong} · evidence at ${share(Math.min(1, evidence))} of the alarm`),
    ...(rest.length ? [h("p", { class: "said" }, rest.join(" · "))] : []),
  ];
}
