// Where packs are kept, and how their copies stand.

import { call, get, poll, sentenceOf } from "./api.js";
import { confirm, h, toast, update } from "./dom.js";
import { bytes, count, percent } from "./format.js";

export const title = "Targets";
export const adminOnly = true;

const many = (number, one, more) => `${count(number)} ${number === 1 ? one : more}`;

function stateOf(one) {
  if (one.trouble) return ["bad", "does not answer"];
  if (one.missing + one.bad) return ["warn", "copies missing"];
  if (one.state !== "active") return ["warn", one.state];
  return ["good", "healthy"];
}

async function change(one, state) {
  if (state === "draining" && !await confirm(`Drain ${one.name}?`,
    "Its packs move to the other targets, and nothing new is put there. This takes a while and can be taken back.", "Drain it", false)) return;
  try {
    await call("PATCH", `/api/v1/admin/targets/${encodeURIComponent(one.name)}`, { json: { state } });
    toast(`${one.name} is ${state} now.`, "done");
  } catch (error) {
    toast(sentenceOf(error));
  }
}

function card(one, alone) {
  const [kind, word] = stateOf(one);
  const used = one.capacity ? one.capacity - one.free : 0;
  return h("li", { class: "card target", "data-key": one.name },
    h("div", { class: "bar" }, h("h2", {}, one.name), h("span", { class: `state ${kind}` }, word), h("span", { class: "grow" }),
      alone ? null : one.state === "draining"
        ? h("button", { "data-key": `activate-${one.name}`, onclick: () => change(one, "active") }, "Use again")
        : h("button", { "data-key": `drain-${one.name}`, onclick: () => change(one, "draining") }, "Drain")),
    one.trouble ? h("p", { class: "wrong" }, `${one.trouble}. Look after the disk or the network; copies elsewhere are used meanwhile.`) : null,
    h("p", { class: "hint place" }, `${one.kind}, zone ${one.zone}: ${one.location}`),
    one.capacity ? h("div", { class: "meter" }, h("progress", { max: one.capacity, value: used, "aria-label": `Space used on ${one.name}` }),
      h("span", {}, `${percent(used, one.capacity)} of ${bytes(one.capacity)} used, ${bytes(one.free)} free`)) : null,
    h("dl", { class: "pairs" }, [["Packs", `${count(one.packs)}, ${bytes(one.bytes)}`], ["Missing", count(one.missing)], ["Bad", count(one.bad)],
      ["Moving", count(one.moving + one.leaving)]].map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

export async function show(view, { signal }) {
  const list = h("div");
  view.append(h("h1", {}, "Targets"), list);
  let before = "";
  await poll(async () => {
    const [{ targets }, work] = await Promise.all([get("/api/v1/admin/targets", signal), get("/api/v1/admin/work", signal)]);
    const copies = work.replication;
    const text = JSON.stringify([targets, copies]);
    if (text === before) return;
    before = text;
    update(list, copies ? h("p", { class: "card" }, `${many(copies.factor, "copy", "copies")} of each pack in ${many(copies.min_zones, "zone", "zones")} asked for; the targets allow ${copies.possible_factor} in ${copies.possible_zones}. `,
      copies.unhealthy ? `${many(copies.unhealthy, "copy is", "copies are")} missing or bad, and being made.`
        : targets.some((one) => one.trouble) ? "Copies on a target that does not answer are not missed yet: they may come back with it." : "All copies are there.") : null,
    h("ul", { class: "plain grid" }, targets.map((one) => card(one, targets.length < 2))));
  }, 2000, signal, (error) => toast(sentenceOf(error)));
}
