// Usage and savings over time, and whether all is well.

import { get, poll, sentenceOf } from "./api.js";
import { chart } from "./chart.js";
import { h, swap, toast } from "./dom.js";
import { ago, bytes, count, percent, time } from "./format.js";

export const title = "Overview";
export const adminOnly = true;

const RANGES = [["Hour", 3600], ["Day", 86400], ["Week", 7 * 86400], ["Month", 31 * 86400], ["Year", 366 * 86400]];
const SERIES = [
  { key: "logical_bytes", label: "In files", class: "one" },
  { key: "unique_bytes", label: "After deduplication", class: "two" },
  { key: "stored_bytes", label: "Stored", class: "three" },
];
const VOLUME = [{ key: "logical_bytes", label: "In files", class: "one" }];
let range = 0;
let volume = "";

function figures(now) {
  const saved = Math.max(0, now.logical_bytes - now.stored_bytes);
  const cards = [
    ["In files", bytes(now.logical_bytes), `${count(now.inodes)} files and directories`],
    ["After deduplication", bytes(now.unique_bytes), now.unique_bytes ? `each byte stands for ${(now.logical_bytes / now.unique_bytes).toFixed(1)}` : "nothing yet"],
    ["Stored", bytes(now.stored_bytes), "compressed, on the targets"],
    ["Saved", percent(saved, now.logical_bytes), now.logical_bytes ? `${bytes(saved)} that need no room` : "nothing yet"],
  ];
  return h("dl", { class: "cards" }, cards.map(([name, value, more]) =>
    h("div", { class: "card figure" }, h("dt", {}, name), h("dd", {}, h("strong", {}, value), h("span", {}, more)))));
}

function health(work, targets, ready) {
  const troubles = [];
  for (const [name, state] of Object.entries(ready.checks)) if (state !== "ok") troubles.push(`${name}: ${state}`);
  for (const one of targets) {
    if (one.trouble) troubles.push(`Target ${one.name}: ${one.trouble}`);
    if (one.missing + one.bad) troubles.push(`Target ${one.name}: ${count(one.missing)} copies missing, ${count(one.bad)} bad; they are made anew`);
  }
  for (const task of work.upkeep) if (task.error) troubles.push(`${task.name}: ${task.error}`);
  if (work.backup?.error) troubles.push(`Backup: ${work.backup.error}`);
  const good = troubles.length === 0;
  return h("section", { class: "card health", "aria-labelledby": "health" },
    h("h2", { id: "health" }, "Health"),
    h("p", { class: `state ${good ? "good" : "bad"}` }, good ? "All is well" : `${troubles.length} ${troubles.length === 1 ? "thing needs" : "things need"} attention`),
    good ? null : h("ul", { class: "troubles" }, troubles.map((one) => h("li", {}, one))),
    h("dl", { class: "pairs" },
      pair("Targets", h("a", { href: "#/targets" }, `${targets.filter((one) => !one.trouble).length} of ${targets.length} answer`)),
      work.replication ? pair("Copies", `${work.replication.possible_factor} of each pack`) : null,
      pair("Not stored yet", bytes(work.pending_bytes)),
      work.backup ? pair("Newest dump", work.backup.made ? ago(work.backup.made) : "none yet") : null,
      pair("Started", ago(work.started)), pair("Version", work.version)));
}

const pair = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));

function table(samples) {
  return h("details", {}, h("summary", { "data-key": "numbers" }, "The numbers"),
    h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ["Since", ...SERIES.map((one) => one.label), "Files"].map((one, at) => h("th", { scope: "col", class: at ? "number" : "" }, one)))),
      h("tbody", {}, samples.slice(-100).reverse().map((one) => h("tr", {}, h("td", {}, time(one.time)),
        SERIES.map((line) => h("td", { class: "number" }, bytes(one[line.key]))), h("td", { class: "number" }, count(one.inodes))))))));
}

export async function show(view, { signal }) {
  const top = h("div"), middle = h("div"), side = h("div");
  view.append(h("h1", {}, "Overview"), top, h("div", { class: "split" }, middle, side));
  let before = "";
  let samples = [];

  function draw() {
    if (!range) {  // the shortest that shows all there is, up to a month
      const age = Date.now() / 1000 - samples[0].time;
      range = (RANGES.slice(0, 4).find(([, seconds]) => age <= seconds) ?? RANGES[3])[1];
    }
    const until = Date.now() / 1000, since = until - range;
    const names = Object.keys(samples.at(-1).volumes);
    if (!names.includes(volume)) volume = "";
    const earlier = samples.filter((one) => one.time < since).slice(-1);
    let within = [...earlier, ...samples.filter((one) => one.time >= since)];
    if (volume) within = within.map((one) => ({ time: one.time, ...(one.volumes[volume] ?? { logical_bytes: 0, inodes: 0 }) }));
    const buttons = h("div", { class: "segments", role: "group", "aria-label": "Time shown" }, RANGES.map(([name, seconds]) =>
      h("button", { "aria-pressed": String(seconds === range), "data-key": name, onclick: () => { range = seconds; draw(); } }, name)));
    const chosen = names.length < 2 ? null : h("label", { class: "inline" }, "Volume ", h("select", { "data-key": "volume", onchange: (event) => { volume = event.target.value; draw(); } },
      h("option", { value: "" }, "all"), names.map((name) => h("option", { value: name, selected: name === volume }, name))));
    const wasOpen = middle.querySelector("details")?.open;
    swap(middle, h("section", { class: "card", "aria-labelledby": "usage" },
      h("div", { class: "bar" }, h("h2", { id: "usage" }, "Usage over time"), h("span", { class: "grow" }), chosen, buttons),
      chart(within, volume ? VOLUME : SERIES, since, until, "Usage over time"), volume ? null : table(within)));
    if (wasOpen && middle.querySelector("details")) middle.querySelector("details").open = true;
  }

  await poll(async () => {
    const [usage, work, targets, ready] = await Promise.all([
      get(`/api/v1/admin/usage?since=${samples.length ? samples.at(-1).time + 1 : 0}`, signal), get("/api/v1/admin/work", signal), get("/api/v1/admin/targets", signal),
      fetch("/health", { signal, cache: "no-store" }).then((answer) => answer.json())]);
    samples = [...samples, ...usage.samples];
    const text = JSON.stringify([Math.floor(Date.now() / 60000), samples.at(-1), work.upkeep.map((task) => task.error), targets.targets, ready.checks]);
    if (text === before) return;
    before = text;
    swap(side, health(work, targets.targets, ready));
    if (samples.length) {
      swap(top, figures(samples.at(-1)));
      draw();
    } else {
      swap(top, h("p", { class: "card empty" }, "Nothing has been noted yet: the first figures come within minutes."));
    }
  }, 5000, signal, (error) => toast(sentenceOf(error)));
}
