// Who is attached: mounts, gateways, daemons.

import { call, get, poll, sentenceOf } from "./api.js";
import { confirm, h, toast, update } from "./dom.js";

export const title = "Sessions";
export const adminOnly = true;

const how = (one) => [one.leased ? "another process" : null, one.attached ? "this process" : null, one.read_only ? "read-only" : null,
  one.holds ? "has the volume to itself" : null, one.journals ? "keeps a journal" : null].filter(Boolean).join(", ");

export async function show(view, { signal }) {
  const list = h("div", { class: "card scroll" });
  view.append(h("h1", {}, "Sessions"), h("p", { class: "hint" }, "Each mount, gateway and daemon that has a volume open. One that is ended can write no more until it attaches anew."), list);
  let before = "";
  async function draw() {
    const { sessions } = await get("/api/v1/admin/sessions", signal);
    const text = JSON.stringify(sessions);
    if (text === before) return;
    before = text;
    update(list, h("table", {}, h("caption", { class: "unseen" }, "Sessions"),
      h("thead", {}, h("tr", {}, ["Number", "Volume", "What", "How", ""].map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", {}, sessions.map((one) => h("tr", { "data-key": String(one.number) }, h("td", {}, String(one.number)), h("td", {}, one.volume), h("td", {}, one.label), h("td", { class: "hint" }, how(one)),
        h("td", { class: "number" }, h("button", { "data-key": `end-${one.number}`, "aria-label": `End session ${one.number}, ${one.label}`, onclick: () => end(one) }, "End")))))));
  }
  async function end(one) {
    if (!await confirm(`End session ${one.number}?`, `What ${one.label} has not sent yet is refused. A mount that is alive attaches anew.`, "End it")) return;
    try { await call("DELETE", `/api/v1/admin/sessions/${one.number}`); await draw(); } catch (error) { toast(sentenceOf(error)); }
  }
  await poll(draw, 3000, signal, (error) => toast(sentenceOf(error)));
}
