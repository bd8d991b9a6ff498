// What must not run out: budgets, and the way of the accounts to the database.

import { byId, h, keyed, redraw, setAttribute, setText } from "./dom.js";
import { bytes, count, plural, share, usd } from "./format.js";

const PER = { minute: "a minute", day: "a day", month: "a month" };

/** Show the budgets' used shares; `warn_at` as in the settings. */
export function showBudgets({ budgets, viewer }) {
  const empty = viewer.role === "user"
    ? "A limit of this key appears here once this gateway has counted a query against it."
    : "No budget of all queries is set. Those of keys appear here once this gateway has counted a query against them.";
  setText(byId("budgets-empty"), empty);
  byId("budgets-empty").hidden = budgets.length > 0;
  const make = () => {
    const [name, figures, fill] = [h("span", {}), h("span", { class: "sub" }), h("span", {})];
    const meter = h("div", { class: "meter", role: "meter", "aria-valuemin": "0", "aria-valuemax": "100" }, fill);
    return Object.assign(h("li", {}, h("div", { class: "line" }, name, figures), meter), { name, figures, meter, fill });
  };
  keyed(byId("budgets"), budgets, (one) => `${one.name} ${one.unit}`, make, (item, one) => {
    const show = one.unit === "usd" ? usd : (tokens) => `${count(tokens)} tokens`;
    const percent = Math.min(100, one.used_share * 100);
    const words = `${show(one.used)} of ${show(one.limit)} ${PER[one.per]}, ${share(one.used_share)}`;
    setText(item.name, one.who);
    setText(item.figures, words);
    setAttribute(item.meter, "data-level", one.used_share >= 1 ? "bad" : one.used_share >= one.warn_at ? "warn" : "ok");
    setAttribute(item.meter, "aria-valuenow", percent.toFixed(0));
    setAttribute(item.meter, "aria-valuetext", words);
    setAttribute(item.meter, "aria-label", `Budget of ${one.who}`);
    item.fill.style.width = `${percent}%`;
  });
}

const JOURNAL = {
  ok: ["ok", "accounts saved"],
  behind: ["warn", "accounts behind"],
  full: ["bad", "journal full"],
};

/** Show each gateway's journal, then what is the same for all. */
export function showService(statuses, latest) {
  const make = () => {
    const [name, chip, figures] = [h("span", {}), h("span", { class: "chip" }), h("p", { class: "sub" })];
    return Object.assign(h("li", {}, h("div", { class: "line" }, name, chip), figures), { name, chip, figures });
  };
  keyed(byId("gateways"), statuses, (one) => String(one.gateway), make, (item, { gateway, ledger, in_flight: inFlight }) => {
    const [level, words] = JOURNAL[ledger.state];
    setText(item.name, gateway ? `Gateway ${gateway}` : "Gateway");
    setAttribute(item.chip, "data-level", level);
    setText(item.chip, words);
    setText(item.figures, journalOf(ledger, inFlight));
  });
  const facts = factsOf(latest);
  redraw(byId("service"), facts, () => facts.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]));
}

function journalOf(ledger, inFlight) {
  const parts = [
    `${plural(inFlight, "query", "queries")} under way`,
    `${plural(ledger.num_pending, "account", "accounts")} on their way to the database`,
    ledger.pending_bytes ? `${bytes(ledger.pending_bytes)} in the journal` : null,
    ledger.num_unrecorded ? `${plural(ledger.num_unrecorded, "query", "queries")} served unrecorded` : null,
    ledger.num_unreplicated ? `${count(ledger.num_unreplicated)} sent before the database had them` : null,
    ledger.last_error,
  ];
  return parts.filter((part) => part).join(" · ");
}

function factsOf({ prices, cache, ledger, engines }) {
  const cached = cache === null ? "off" : `${plural(cache.num_entries, "answer", "answers")}, ${bytes(cache.num_bytes)} of ${bytes(cache.max_bytes)}`;
  return [
    ["Prices", prices.version],
    ["Durability", ledger.durability],
    ["Response cache", cached],
    ...engines.map((engine) => [
      engine.node,
      engine.error ?? `${plural(engine.active_rows, "row", "rows")} busy, ${count(engine.waiting_calls)} waiting`,
    ]),
  ];
}
