// Several gateways may take turns to answer this page. Each tells its own state; this puts the latest of each together.

const REMEMBER_MS = 60_000;
const WORST = ["no_target", "ok", "drifting", "breached"];
const seen = new Map();

/** Take in a status; gives all statuses younger than a minute, by gateway name. */
export function remember(status, nowMs) {
  seen.set(status.gateway, { status, atMs: nowMs });
  for (const [name, { atMs }] of seen) if (nowMs - atMs > REMEMBER_MS) seen.delete(name);
  return [...seen.entries()].sort(([one], [other]) => String(one).localeCompare(String(other))).map(([, one]) => one.status);
}

/** Forget all, as after a change of key. */
export const forgetGateways = () => seen.clear();

/** The routes of all gateways.
 *
 * Counts are added up, the worst state counts, and evidence adds up over gateways in the same epoch, because they audit
 * different queries. Bounds cannot be joined: those of the gateway with most audits are kept.
 */
export function routesOf(statuses) {
  const routes = new Map();
  for (const route of statuses.flatMap((status) => status.routes)) {
    const before = routes.get(route.route);
    routes.set(route.route, before ? joined(before, route) : route);
  }
  return [...routes.values()];
}

function joined(one, other) {
  if (one.audit === null || other.audit === null) return one.audit === null ? other : one;
  const [a, b] = [one.audit, other.audit];
  const sum = (name) => a[name] + b[name];
  const sure = a.num_audited >= b.num_audited ? a : b;
  return {
    ...one,
    state: WORST.indexOf(one.state) >= WORST.indexOf(other.state) ? one.state : other.state,
    audit: {
      ...sure,
      num_audited: sum("num_audited"),
      num_wrong: sum("num_wrong"),
      num_not_scored: sum("num_not_scored"),
      num_stale: sum("num_stale"),
      log_e_value: a.epoch === b.epoch ? sum("log_e_value") : sure.log_e_value,
    },
  };
}
