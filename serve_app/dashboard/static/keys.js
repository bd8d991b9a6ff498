// Asks for the key once; it lives in this tab's session storage.

import { forgetKey, saveKey, savedKey } from "./api.js";
import { byId, setText } from "./dom.js";

/** Wire the dialog; `onKey` is called when there is a new key. */
export function startKeys(onKey) {
  const dialog = byId("key-dialog");
  dialog.addEventListener("cancel", (event) => event.preventDefault()); // without a key there is nothing to go back to
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    saveKey(byId("key").value.trim());
    byId("key").value = "";
    dialog.close();
    byId("figures").focus();
    onKey();
  });
  byId("change-key").addEventListener("click", () => {
    forgetKey();
    askForKey("");
  });
}

/** Open the dialog, saying why the last key was not taken. */
export function askForKey(why) {
  setText(byId("key-error"), why);
  byId("change-key").hidden = true;
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}

/** Whether the dialog waits for a key. */
export const isAsking = () => byId("key-dialog").open;

/** Offer another key where one is in use. */
export const offerChange = () => {
  byId("change-key").hidden = savedKey() === null;
};
