// Light, dark, or as the system says. Kept in this browser; there is nothing secret about it.

import { byId, setText } from "./dom.js";

const KEY = "headrace-theme";
const THEMES = ["auto", "light", "dark"];

/** Apply the kept choice and let the button change it. */
export function startTheme() {
  const button = byId("theme");
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    setText(button, `Theme: ${theme}`);
  };
  let theme = THEMES.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "auto";
  apply(theme);
  button.addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    localStorage.setItem(KEY, theme);
    apply(theme);
  });
}
