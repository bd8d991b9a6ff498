// The page's loop: ask for all figures at once, show what came, say what did not, wait, again.

import { showAdapters } from "./adapters.js";
import { get, savedKey, forgetKey } from "./api.js";
import { showChart, startChart } from "./chart.js";
import { offerChecklist, startChecklist } from "./checklist.js";
import { byId, setAttribute, setText } from "./dom.js";
import { timeOf } from "./format.js";
import { forgetGateways, remember, routesOf } from "./gateways.js";
import { askForKey, isAsking, offerChange, startKeys } from "./keys.js";
import { showMoney } from "./money.js";
import { forgetQueries, oldestShown, showNewest, showOlder } from "./queries.js";
import { perStep, rangeOf } from "./ranges.js";
import { showRoutes } from "./routes.js";
import { showBudgets, showService } from "./service.js";
import { startTheme } from "./theme.js";
import { showLatency, showTraffic } from "./traffic.js";

const EVERY_MS = 5000;
const PAGE = 25;

let current = new AbortController();
let timer = null;
let updatedAt = null;

const chosenRange = () => document.querySelector('input[name="range"]:checked').value;

async function refresh() {
  clearTimeout(timer);
  current.abort();
  const controller = (current = new AbortController());
  if (isAsking() || document.hidden) return;
  const range = rangeOf(chosenRange(), Date.now());
  const results = await ask(range, controller.signal);
  if (controller.signal.aborted) return;
  const refused = results.filter((one) => one.status === "rejected").map((one) => one.reason);
  if (refused.some((error) => error.status === 401)) return rejectKey(refused.find((error) => error.status === 401));
  timer = setTimeout(refresh, EVERY_MS); // whatever becomes of what came
  try {
    show(range, ...results.map((one) => (one.status === "fulfilled" ? one.value : null)));
    report(refused, results.length);
  } catch (error) {
    report([...refused, new Error(`This page cannot show what came (${error.message}); load it anew.`)], results.length + 1);
  }
}

function ask(range, signal) {
  const stats = (group_by, since = String(range.since)) => get("ledger/stats", { since, group_by }, signal);
  return Promise.allSettled([
    get("status", {}, signal),
    stats("hour"),
    stats("route"),
    stats("adapter"),
    stats("outcome"),
    stats("", "5m"),
    get("ledger/queries", { limit: PAGE }, signal),
  ]);
}

function show(range, status, hours, routes, adapters, outcomes, recent, queries) {
  if (hours) {
    showMoney(hours, range);
    showLatency(hours.totals);
    showChart(range, perStep(range, hours.groups));
  }
  if (outcomes && recent) showTraffic(outcomes.totals, outcomes.groups, recent.totals);
  if (status) showStatus(status, routes, adapters);
  if (queries) showNewest(queries.data, PAGE);
  offerChange();
}

function showStatus(status, routes, adapters) {
  const statuses = remember(status, Date.now());
  showRoutes(routesOf(statuses), routes?.groups, status.cascade);
  showAdapters(status, adapters?.groups);
  showBudgets(status);
  offerChecklist(status);
  showService(statuses, status);
  byId("scope").hidden = status.viewer.role !== "user";
  setText(byId("scope"), `Queries of key ${status.viewer.key_id} only`);
  setText(byId("about"), `Headrace ${status.version}`);
}

function report(refused, number) {
  const live = byId("live");
  if (refused.length < number) updatedAt = Date.now() / 1000;
  const last = updatedAt === null ? "" : ` The figures are of ${timeOf(updatedAt)}.`;
  const messages = [...new Set(refused.map((error) => error.message))];
  byId("banner").hidden = refused.length === 0;
  setText(byId("banner"), refused.length ? `${messages.join(" ")}${refused.length === number ? last : ""} Trying again.` : "");
  setAttribute(live, "data-state", refused.length ? "stale" : "live");
  setText(byId("live-text"), refused.length ? "Not up to date" : `Live, ${timeOf(updatedAt)}`);
  setAttribute(byId("figures"), "aria-busy", "false");
}

function rejectKey(error) {
  const why = savedKey() === null ? "" : error.message;
  forgetKey();
  setAttribute(byId("live"), "data-state", "waiting");
  setText(byId("live-text"), "Waiting for a key");
  byId("banner").hidden = true;
  askForKey(why);
}

function startOver() {
  forgetGateways();
  forgetQueries();
  refresh();
}

async function older() {
  const button = byId("older");
  button.disabled = true;
  try {
    showOlder((await get("ledger/queries", { limit: PAGE, before: oldestShown() })).data, PAGE);
  } catch (error) {
    report([error], 2);
  } finally {
    button.disabled = false;
  }
}

startTheme();
startChart();
startChecklist();
startKeys(startOver);
byId("ranges").addEventListener("change", refresh);
byId("older").addEventListener("click", older);
document.addEventListener("visibilitychange", refresh);
refresh();
