// What runs: jobs that somebody has started, and work that the daemon does by itself.

import { get, poll, post, sentenceOf } from "./api.js";
import { confirm, h, toast, update } from "./dom.js";
import { ago, bytes, count, duration } from "./format.js";

export const title = "Jobs";
export const adminOnly = true;

const KINDS = [
  ["gc", "Collect", "Frees what no file, snapshot or dump needs any more."],
  ["scrub", "Scrub", "Reads every pack and checks it; damage is repaired from another copy."],
  ["fsck", "Check", "Compares names, contents and packs. Changes nothing."],
  ["backup", "Back up", "Writes all names to the targets as a dump."],
];
const NAMES = { gc: "Collection", scrub: "Scrub", fsck: "Check", backup: "Backup", restore: "Restore" };
const WORDS = { running: "running", done: "done", cancelled: "cancelled", failed: "failed" };

function result(job) {
  if (job.error) return job.error;
  const found = job.result;
  if (!found) return "";
  return Object.entries(found).filter(([, value]) => typeof value === "number" && value || typeof value === "string" && value)
    .slice(0, 5).map(([key, value]) => `${key.replace(/_bytes$/, "").replaceAll("_", " ")}: ${typeof value === "string" ? value : /bytes/.test(key) ? bytes(value) : count(value)}`).join(", ") || "nothing to do";
}

function progress(job) {
  if (job.state !== "running") return null;
  const at = job.progress;
  const told = /bytes/.test(at?.what ?? "") ? bytes : count;
  const text = at ? `${at.what || "at work"}${at.total ? `: ${told(at.done)} of ${told(at.total)}` : at.done ? `: ${told(at.done)}` : ""}` : "begins";
  return h("div", { class: "meter" }, h("progress", { max: at?.total || 1, "aria-label": `Progress of ${NAMES[job.kind] ?? job.kind}`, ...(at?.total ? { value: at.done } : {}) }), h("span", {}, text));
}

function row(job, again) {
  const cancel = async () => {
    try { await post(`/api/v1/admin/jobs/${job.id}/cancel`); again(); } catch (error) { toast(sentenceOf(error)); }
  };
  const took = (job.ended ?? Date.now() / 1000) - job.started;
  return h("li", { class: "card job", "data-key": job.id },
    h("div", { class: "bar" }, h("h3", {}, NAMES[job.kind] ?? job.kind), h("span", { class: `state ${{ done: "good", failed: "bad", running: "busy" }[job.state] ?? "warn"}` }, WORDS[job.state] ?? job.state),
      h("span", { class: "hint" }, job.state === "running" ? `for ${duration(took)}` : `${ago(job.ended)}, took ${duration(took)}`), h("span", { class: "grow" }),
      job.state === "running" ? h("button", { "data-key": `cancel-${job.id}`, onclick: cancel }, "Cancel") : null),
    progress(job), h("p", { class: job.error ? "wrong" : "hint" }, result(job)));
}

function upkeep(tasks) {
  return h("table", {}, h("caption", { class: "unseen" }, "Work in the background"),
    h("thead", {}, h("tr", {}, ["Work", "State", "Last run", "What it did"].map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, tasks.map((one) => h("tr", {}, h("th", { scope: "row" }, one.name),
      h("td", {}, h("span", { class: `state ${one.error ? "bad" : one.state === "running" ? "busy" : "idle"}` }, one.state === "running" && one.total ? `${one.state} ${Math.floor((100 * one.done) / one.total)} %` : one.state)),
      h("td", {}, one.last_end ? ago(one.last_end) : "not yet"), h("td", { class: one.error ? "wrong" : "" }, one.error || one.last_result)))));
}

export async function show(view, { signal }) {
  const list = h("div"), background = h("div", { class: "card scroll" });
  const again = () => draw().catch((error) => toast(sentenceOf(error)));
  const start = async (kind, name) => {
    if (kind === "scrub" && !await confirm("Scrub all packs?", "All packs are read. This takes long on a large store and can be cancelled.", "Scrub", false)) return;
    try { await post(`/api/v1/admin/${kind}`, {}); toast(`${name} has begun.`, "done"); again(); } catch (error) { toast(sentenceOf(error)); }
  };
  view.append(h("h1", {}, "Jobs"),
    h("ul", { class: "plain cards starters" }, KINDS.map(([kind, name, text]) => h("li", { class: "card" }, h("p", {}, text),
      h("button", { id: `start-${kind}`, onclick: () => start(kind, name) }, name)))),
    h("h2", {}, "Started by hand"), list, h("h2", {}, "In the background"), background);
  async function draw() {
    const [{ jobs }, work] = await Promise.all([get("/api/v1/admin/jobs", signal), get("/api/v1/admin/work", signal)]);
    update(list, jobs.length ? h("ul", { class: "plain", id: "jobs" }, jobs.reverse().map((job) => row(job, again)))
      : h("p", { class: "empty card" }, "None since the daemon was started."));
    update(background, upkeep(work.upkeep));
  }
  await poll(draw, 1000, signal, (error) => toast(sentenceOf(error)));
}
