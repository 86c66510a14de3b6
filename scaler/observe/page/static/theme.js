// Sets the theme before anything is drawn, so that nothing flashes.
"use strict";
const THEMES = ["auto", "light", "dark"];
function theme() {
  const kept = localStorage.getItem("theme");
  return THEMES.includes(kept) ? kept : "auto";
}
document.documentElement.dataset.theme = theme();
