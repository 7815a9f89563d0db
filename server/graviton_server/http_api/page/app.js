// Signing in, the frame around the views, and which view is shown.

import { call, get, post, sentenceOf, session } from "./api.js";
import { h, icon, say, swap, toast } from "./dom.js";
import * as files from "./files.js";
import * as jobs from "./jobs.js";
import * as overview from "./overview.js";
import * as sessions from "./sessions.js";
import * as snapshots from "./snapshots.js";
import * as targets from "./targets.js";
import { pending, tray } from "./upload.js";

const VIEWS = { overview, files, snapshots, targets, jobs, sessions };
const THEMES = ["auto", "light", "dark"];
const frame = document.getElementById("frame");
let shown = new AbortController();
let who = null;

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  localStorage.setItem("graviton-theme", theme);
}

function themeButton() {
  const now = () => localStorage.getItem("graviton-theme") ?? "auto";
  const label = () => `Colours: ${{ auto: "system", light: "light", dark: "dark" }[now()]}`;
  const button = h("button", { class: "quiet theme", id: "theme", onclick: () => {
    setTheme(THEMES[(THEMES.indexOf(now()) + 1) % THEMES.length]);
    text.textContent = label();
  } }, icon("theme"));
  const text = h("span", {}, label());
  button.append(text);
  return button;
}

function signIn(message) {
  document.title = "Sign in – Graviton";
  shown.abort();
  const wrong = h("p", { class: "wrong", role: "alert", id: "wrong" }, message ?? "");
  const user = h("input", { id: "user", name: "username", autocomplete: "username", value: localStorage.getItem("graviton-user") ?? "" });
  const token = h("input", { id: "token", name: "password", type: "password", required: true, autocomplete: "current-password", "aria-describedby": "wrong hint" });
  const button = h("button", { class: "primary", type: "submit" }, "Sign in");
  const form = h("form", { class: "card signin", method: "post", onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      localStorage.setItem("graviton-user", user.value);
      await post("/api/v1/session", { user: user.value, token: token.value });
      token.value = "";
      await start(true);
    } catch (error) {
      wrong.textContent = error.status === 401 ? "This token is unknown, has expired or has been revoked. Check that all of it was pasted." : sentenceOf(error);
      button.disabled = false;
      token.select();
    }
  } },
  h("h1", {}, logo(), "Graviton"),
  h("label", { class: "field" }, h("span", {}, "Name, as you like"), user),
  h("label", { class: "field" }, h("span", {}, "Token"), token),
  h("p", { class: "hint", id: "hint" }, "A token begins with grv_. Whoever runs the daemon makes one with ", h("code", {}, "graviton token create"), "."),
  wrong, button);
  frame.className = "outside";
  swap(frame, h("main", { id: "main", tabindex: "-1" }, form, themeButton()));
  (user.value ? token : user).focus();
}

function logo() {
  return h("img", { src: "favicon.svg", alt: "", class: "logo", width: "28", height: "28" });
}

function layout() {
  const nav = h("nav", { "aria-label": "Views" }, h("ul", {}, Object.entries(VIEWS)
    .filter(([, view]) => who.admin || !view.adminOnly)
    .map(([name, view]) => h("li", {}, h("a", { href: `#/${name}`, id: `nav-${name}` }, icon(name), h("span", {}, view.title))))));
  const account = h("div", { class: "account" }, themeButton(), who.authentication
    ? h("button", { class: "quiet", id: "sign-out", onclick: signOut }, h("span", {}, `Sign out ${who.name}`))
    : h("p", { class: "hint" }, "Authentication is off."));
  frame.className = "inside";
  swap(frame,
    h("aside", { class: "side" }, h("a", { href: "#/overview", class: "brand" }, logo(), h("span", {}, "Graviton")), nav, account),
    h("main", { id: "main", tabindex: "-1" }), tray);
}

async function signOut() {
  if (pending() && !window.confirm("Uploads are under way. They can go on when you sign in again and choose the same files. Sign out?")) return;
  try {
    await call("DELETE", "/api/v1/session");
  } catch (error) {
    if (error.status !== 401) { toast(sentenceOf(error)); return; }
  }
  session.proof = null;
  who = null;
  signIn("");
}

function show() {
  if (!who) return;
  shown.abort();
  shown = new AbortController();
  const parts = location.hash.replace(/^#\/?/, "").split("/");
  let name = parts[0] in VIEWS ? parts[0] : "overview";
  if (VIEWS[name].adminOnly && !who.admin) name = "files";
  for (const link of frame.querySelectorAll("nav a")) {
    if (link.id === `nav-${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[name].title} – Graviton`;
  const main = document.getElementById("main");
  const view = h("div", { class: `view ${name}` });
  const inside = main.contains(document.activeElement);
  swap(main, view);
  if (inside) main.focus({ preventScroll: true });  // not back to the beginning of the page
  say(VIEWS[name].title);
  const signal = shown.signal;
  Promise.resolve(VIEWS[name].show(view, { who, signal, rest: parts.slice(1) }))
    .catch((error) => { if (error.name !== "AbortError" && !signal.aborted) toast(sentenceOf(error)); });
}

async function start(signedIn = false) {
  who = await get("/api/v1/session");
  session.proof = who.proof;
  if (!who.signed_in) { who = null; signIn(""); return; }
  layout();
  if (signedIn) document.getElementById("main").focus();
  if (!location.hash) location.replace(who.admin ? "#/overview" : "#/files");
  show();
}

document.addEventListener("signed-out", () => {
  if (who) { who = null; signIn("The session has ended. Sign in to go on where you were."); }
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main")?.focus();
});
window.addEventListener("hashchange", show);
window.addEventListener("beforeunload", (event) => { if (pending()) event.preventDefault(); });
setTheme(localStorage.getItem("graviton-theme") ?? "auto");
start().catch((error) => signIn(sentenceOf(error)));
