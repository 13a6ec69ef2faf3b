// SPDX-License-Identifier: Apache-2.0
// The page's frame: views by the address's #name, theme, language, keys that work everywhere.
import { beginChat, showChat, stop } from "./chat.js";
import { beginCompare, showCompare, stopComparing } from "./compare.js";
import { byId } from "./nodes.js";
import { currentLanguage, say, switchLanguage, translate } from "./language.js";
import { showModel } from "./model.js";
import { showStatus } from "./status.js";
import { modelNames } from "./server.js";
import { choices } from "./storage.js";

const views = { chat: showChat, compare: showCompare, status: showStatus, model: showModel };

async function show() {
  const name = location.hash.slice(1);
  if (name !== "" && !views[name]) return;  // a place within the view
  const shown = name || "chat";
  for (const view of Object.keys(views)) byId(view).hidden = view !== shown;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === "#" + shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  scrollTo(0, shown === "chat" ? document.documentElement.scrollHeight : 0);
  byId("error").hidden = true;
  try {
    await views[shown]();
  } catch (error) {
    say(byId("error"), "failed", { reason: error.message }).hidden = false;
  }
}

const prefersDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

function begin() {
  setTheme(choices.get("theme"));
  translate();
  beginChat();
  beginCompare();
  translate();
  byId("language").addEventListener("click", switchLanguage);
  byId("theme").addEventListener("click", () => {
    const isDark = (document.documentElement.dataset.theme ?? (prefersDark() ? "dark" : "light")) === "dark";
    setTheme(isDark ? "light" : "dark");
    choices.set("theme", isDark ? "light" : "dark");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !byId("key-dialog").open && !stop()) stopComparing();
  });
  addEventListener("hashchange", show);
  show();
  modelNames().then((names) => {
    byId("model-name").textContent = names.join(", ");
    document.title = `${names.join(", ")} · nibble`;
  }, () => {});
  document.documentElement.dataset.ready = currentLanguage();
}

begin();
