// The production checklist, run when somebody asks for it: what fails and what is warned of, with what mends it.

import { get } from "./api.js";
import { byId, h, redraw, setText } from "./dom.js";
import { plural } from "./format.js";

const LEVEL = { fail: "bad", warn: "warn" };

/** Offer the checklist to whoever may see it. */
export function offerChecklist({ viewer }) {
  byId("checklist-card").hidden = viewer.role === "user";
}

/** Wait for the button. */
export function startChecklist() {
  byId("check").addEventListener("click", run);
}

async function run() {
  const button = byId("check");
  button.disabled = true;
  setText(byId("checklist-note"), "Looking…");
  try {
    show(await get("checklist", { profile: "production" }));
  } catch (error) {
    setText(byId("checklist-note"), error.message);
  } finally {
    button.disabled = false;
    setText(button, "Run it again");
  }
}

function show({ counts, items }) {
  const parts = [
    `${plural(counts.fail, "item fails", "items fail")}`,
    `${plural(counts.warn, "warning", "warnings")}`,
    `${counts.pass} pass`,
    `${counts.not_applicable} not applicable`,
  ];
  setText(byId("checklist-note"), `${parts.join(", ")}.`);
  const open = ["fail", "warn"].flatMap((status) => items.filter((item) => item.status === status));
  redraw(byId("checklist"), open, () => open.map(line));
}

function line({ id, title, status, evidence, fix }) {
  const head = h("div", { class: "line" }, h("span", {}, title), h("span", { class: "chip", "data-level": LEVEL[status] }, status));
  return h("li", { "data-id": id }, head, h("p", { class: "sub" }, evidence), h("p", { class: "sub fix" }, fix));
}
