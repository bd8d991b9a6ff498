// The adapters that are served, which version of each, and what they did.

import { byId, h, keyed, setAttribute, setText } from "./dom.js";
import { about, share, shortVersion } from "./format.js";

/** Show the adapters of the gateway, and those that answered in the time range. `groups`: statistics by adapter. */
export function showAdapters(status, groups) {
  const named = new Map(status.adapters.map((adapter) => [adapter.name, { ...adapter, group: null }]));
  for (const group of groups ?? []) {
    const known = named.get(group.adapter) ?? { name: group.adapter, version: null, is_resident: null };
    named.set(group.adapter, { ...known, group });
  }
  const make = (adapter) => {
    const cells = [h("td", {}, h("span", {}, adapter.name ?? "none"), h("div", { class: "sub" })), h("td", {}, h("span", { class: "code" }))];
    return h("tr", {}, ...cells, h("td", { class: "num" }), h("td", { class: "num" }));
  };
  keyed(byId("adapters"), [...named.values()], ({ name }) => String(name), make, (row, adapter) => {
    const [name, version, queries, saved] = row.children;
    setText(name.children[1], placeOf(adapter));
    setText(version.children[0], shortVersion(adapter.version));
    setAttribute(version.children[0], "title", adapter.version);
    setText(queries, about(adapter.group?.queries ?? 0));
    setText(saved, share(adapter.group?.saved_share));
  });
  const models = Object.entries(status.models).map(([node, model]) => `${node} ${model}`);
  setText(byId("models-note"), `Models: ${models.join(", ")}.`);
}

function placeOf({ name, is_resident: resident, is_pinned: pinned, canary, canary_weight: weight }) {
  if (name === null) return "base or large model";
  const parts = resident === null ? [] : [resident ? "loaded" : "on demand"];
  if (pinned) parts.push("pinned");
  if (canary) parts.push(`canary ${shortVersion(canary)}, ${share(weight)}`);
  return parts.join(" · ");
}
