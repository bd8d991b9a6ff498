// The latest queries; each opens to all that was tried for it.

import { byId, h, keyed, redraw, setAttribute, setText } from "./dom.js";
import { count, duration, exactly, share, shortVersion, usd, when } from "./format.js";

const OUTCOMES = {
  accepted: ["ok", "answered"],
  counted: ["idle", "counted in the ensemble"],
  escalated: ["idle", "dropped for the large model"],
  cancelled: ["idle", "cancelled"],
  failed: ["bad", "failed"],
  timed_out: ["bad", "timed out"],
  lost: ["bad", "lost"],
  shadow: ["idle", "shadow"],
};
const ROLES = { answer: "answer", member: "ensemble member", shadow: "look behind an answer", router: "choice of route", retriever: "passages" };
const GIVES_NO_ANSWER = ["router", "retriever"];

let known = new Map();

/** Forget what was shown, as after a change of key. */
export function forgetQueries() {
  known = new Map();
  showAll();
}

/** The id of the oldest query shown, or null. */
export const oldestShown = () => [...known.keys()].at(-1) ?? null;

/** Take in the newest page; older queries that were asked for stay. `limit`: the size of a page. */
export function showNewest(accounts, limit) {
  const joins = accounts.length < limit || accounts.some((one) => known.has(one.query_id));
  const older = joins ? [...known.values()].filter((one) => !accounts.some((newer) => newer.query_id === one.query_id)) : [];
  const reach = accounts.length < limit ? [] : older.filter((one) => one.created_at_s <= accounts.at(-1).created_at_s);
  known = new Map([...accounts, ...reach].map((one) => [one.query_id, one]));
  showAll();
  if (accounts.length < limit) byId("older").hidden = true;
  else if (known.size === accounts.length) byId("older").hidden = false;
}

/** Take in a page of older queries. */
export function showOlder(accounts, limit) {
  for (const one of accounts) known.set(one.query_id, one);
  byId("older").hidden = accounts.length < limit;
  showAll();
}

function showAll() {
  byId("recent-empty").hidden = known.size > 0;
  setText(byId("recent-empty"), "No queries yet. The first one appears here within seconds.");
  const table = document.querySelector(".queries");
  table.hidden = known.size === 0;
  keyed(table, [...known.values()], (one) => one.query_id, makeQuery, updateQuery);
}

function makeQuery({ query_id: id }) {
  const detail = h("tr", { class: "detail", id: `detail-${id}`, hidden: true }, h("td", { colspan: "9" }));
  const opener = h("button", { type: "button", class: "opener", "aria-expanded": "false", "aria-controls": `detail-${id}` });
  const cells = [
    h("td", {}, opener),
    h("td", { class: "wide" }),
    h("td", {}),
    h("td", { class: "wide" }, h("span", {}), " ", h("span", { class: "sub code" })),
    h("td", {}, h("span", { class: "chip" })),
    h("td", { class: "num wide" }),
    h("td", { class: "num mid" }),
    h("td", { class: "num" }),
    h("td", { class: "num mid" }),
  ];
  const body = Object.assign(h("tbody", {}, h("tr", { class: "row" }, ...cells), detail), { opener, cells, detail });
  opener.addEventListener("click", () => {
    const open = opener.getAttribute("aria-expanded") !== "true";
    setAttribute(opener, "aria-expanded", open);
    detail.hidden = !open;
    if (open) showDetail(body);
  });
  return body;
}

function updateQuery(body, account) {
  body.account = account;
  const [, asked, route, answerer, outcome, tokens, ms, cost, saved] = body.cells;
  const [level, words] = outcomeOf(account);
  setText(body.opener, when(account.created_at_s));
  setAttribute(body.opener, "aria-label", `${when(account.created_at_s)}: attempts of this query`);
  setAttribute(body.opener, "title", exactly(account.created_at_s));
  setText(asked, account.requested_model);
  setText(route, account.route ?? "not routed");
  setText(answerer.children[0], account.cache ? "response cache" : (account.adapter ?? account.model ?? "–"));
  setText(answerer.children[1], account.adapter ? shortVersion(account.adapter_version) : "");
  setText(outcome.children[0], words);
  setAttribute(outcome.children[0], "data-level", level);
  setText(tokens, count(tokensOf(account)));
  setText(ms, duration(account.ms));
  setText(cost, usd(account.cost_usd));
  setText(saved, usd(account.saved_usd));
  if (!body.detail.hidden) showDetail(body);
}

function outcomeOf(account) {
  if (account.outcome !== "accepted") return OUTCOMES[account.outcome];
  if (account.cache) return ["ok", "cached"];
  return account.escalated ? ["warn", "escalated"] : OUTCOMES.accepted;
}

const tokensOf = ({ attempts }) => attempts.reduce((sum, { usage }) => sum + usage.prompt_tokens + usage.completion_tokens, 0);

function showDetail({ account, detail }) {
  redraw(detail.firstChild, account, () => {
    const facts = factsOf(account).filter(([, text]) => text);
    const slowest = Math.max(1, ...account.attempts.map(({ ms }) => ms));
    const attempts = account.attempts.map((attempt) => attemptOf(attempt, slowest));
    return h(
      "div",
      { class: "story" },
      h("dl", { class: "facts" }, ...facts.flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])),
      attempts.length ? h("ol", { class: "attempts", "aria-label": "Attempts" }, ...attempts) : h("p", { class: "empty" }, "Nothing was tried."),
    );
  });
}

function factsOf(account) {
  const probability = account.route_probability === null ? "" : `, ${share(account.route_probability)} sure`;
  const large = `${usd(account.always_large_usd)} (${account.always_large_basis})`;
  return [
    ["Query", account.query_id],
    ["Key", account.key_id],
    ["Asked for", account.requested_model],
    ["Route", account.route && `${account.route}${probability}`],
    ["Decision", account.reason],
    ["First token", account.first_token_ms === null ? null : `${duration(account.first_token_ms)}, whole answer ${duration(account.ms)}`],
    ["Money", `cost ${usd(account.cost_usd)}, always-large ${large}, saved ${usd(account.saved_usd)}`],
    ["Tier", account.tier === "default" ? null : account.tier],
    ["Shadow of", account.shadow_of],
    ["Prices", account.price_version],
    ["Gateway", account.gateway],
  ];
}

function attemptOf(attempt, slowest) {
  const [level, words] = GIVES_NO_ANSWER.includes(attempt.role) && attempt.outcome === "accepted" ? ["idle", "done"] : OUTCOMES[attempt.outcome];
  const { prompt_tokens: prompt, cached_tokens: cached, completion_tokens: completion, busy_s: busy } = attempt.usage;
  const name = [attempt.model, attempt.adapter && `adapter ${attempt.adapter}`, attempt.adapter && shortVersion(attempt.adapter_version)];
  const figures = [
    attempt.choice_index ? `choice ${attempt.choice_index + 1}` : null,
    prompt + completion ? `${count(prompt)} tokens in${cached ? ` (${count(cached)} cached)` : ""}, ${count(completion)} out` : null,
    attempt.confidence === null ? null : `confidence ${attempt.confidence.toFixed(2)}`,
    `took ${duration(attempt.ms)}`,
    busy ? `busy ${duration(busy * 1000)}` : null,
    usd(attempt.cost_usd),
  ];
  const fill = h("span", {});
  fill.style.width = `${(100 * attempt.ms) / slowest}%`;
  const line = [h("b", {}, attempt.node), name.filter((part) => part).join(" · "), h("span", { class: "chip", "data-level": level }, words)];
  return h(
    "li",
    {},
    h("div", {}, h("div", { class: "line" }, ...line), h("p", { class: "figures" }, ROLES[attempt.role], ...figures.filter((text) => text).map((text) => h("span", {}, text)))),
    h("div", { class: "took", "aria-hidden": "true" }, fill),
  );
}
