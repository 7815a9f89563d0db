// Snapshots of a volume: made, looked into, deleted.

import { call, get, post, sentenceOf } from "./api.js";
import { ask, confirm, h, icon, swap, toast } from "./dom.js";
import { bytes, count, time } from "./format.js";
import { link } from "./paths.js";

export const title = "Snapshots";

export async function show(view, { who, signal, rest }) {
  if (!who.volumes.length) { view.append(h("p", { class: "card empty" }, "This token is for no volume.")); return; }
  const names = who.volumes.map((one) => one.name);
  const wanted = decodeURIComponent(rest[0] ?? "");
  const volume = names.includes(wanted) ? wanted : names[0];
  const list = h("div", { class: "card scroll" });
  const base = `/api/v1/admin/volumes/${encodeURIComponent(volume)}/snapshots`;
  const make = async () => {
    const name = await ask("New snapshot", "Name", new Date().toISOString().slice(0, 16).replace("T", " ").replace(":", "."), "Make it");
    if (name === null) return;
    try { await post(base, { name }); toast(`The snapshot ${name} is made.`, "done"); await draw(); } catch (error) { toast(sentenceOf(error)); }
  };
  const drop = async (one) => {
    if (!await confirm(`Delete the snapshot ${one.name}?`, "What is in it alone cannot be brought back afterwards.", "Delete it")) return;
    try { await call("DELETE", `${base}/${encodeURIComponent(one.name)}`); await draw(); } catch (error) { toast(sentenceOf(error)); }
  };
  view.append(h("div", { class: "bar" }, h("h1", {}, "Snapshots"), h("span", { class: "grow" }),
    names.length > 1 ? h("label", { class: "inline" }, "Volume ", h("select", { id: "volume", onchange: (event) => { location.hash = `#/snapshots/${encodeURIComponent(event.target.value)}`; } },
      names.map((name) => h("option", { value: name, selected: name === volume }, name)))) : null,
    who.admin ? h("button", { class: "primary", id: "new-snapshot", onclick: make }, icon("plus"), "New snapshot") : null),
  h("p", { class: "hint" }, "A snapshot is the volume as it was. Look into one to take single files or whole directories back."), list);
  async function draw() {
    const { snapshots } = await get(`/api/v1/snapshots?volume=${encodeURIComponent(volume)}`, signal);
    swap(list, snapshots.length ? h("table", {}, h("caption", { class: "unseen" }, `Snapshots of ${volume}`),
      h("thead", {}, h("tr", {}, ["Name", "Made", "In files", "Files", ""].map((one, at) => h("th", { scope: "col", class: at > 1 ? "number" : "" }, one)))),
      h("tbody", {}, snapshots.reverse().map((one) => h("tr", {},
        h("th", { scope: "row" }, h("a", { href: link(volume, [".snapshots", encodeURIComponent(one.name)]) }, one.name), one.scheduled ? h("span", { class: "hint" }, " by the clock") : null),
        h("td", {}, time(one.created)), h("td", { class: "number" }, bytes(one.logical_bytes)), h("td", { class: "number" }, count(one.inodes)),
        h("td", { class: "number" }, who.admin ? h("button", { "data-key": `drop-${one.name}`, "aria-label": `Delete the snapshot ${one.name}`, onclick: () => drop(one) }, "Delete") : null)))))
      : h("p", { class: "empty" }, "There are none yet."));
  }
  await draw();
}
