// The files of a volume: looked at, put there, taken away, brought back.

import { call, get, poll, post, sentenceOf } from "./api.js";
import { ask, confirm, dialog, h, icon, say, swap, toast } from "./dom.js";
import { bytes, time } from "./format.js";
import { escapeEntry, fields, fileUrl, fromFields, fromText, link, shown } from "./paths.js";
import { preview } from "./preview.js";
import { dropped, giveUp, interrupted, upload } from "./upload.js";

export const title = "Files";
const PAGE = 500;
const PAST = ".snapshots";

export async function show(view, context) {
  const { who, rest, signal } = context;
  if (!who.volumes.length) { view.append(h("p", { class: "card empty" }, "This token is for no volume.")); return; }
  const wanted = rest.length ? decodeURIComponent(rest[0]) : "";
  const known = who.volumes.find((one) => one.name === wanted) ?? who.volumes[0];
  await new Browser(view, who, known, rest.slice(1).filter(Boolean), signal).start();
}

class Browser {
  constructor(view, who, volume, path, signal) {
    Object.assign(this, { view, who, path, signal, volume: volume.name, chosen: new Map(), entries: [], next: null });
    this.past = path[0] === PAST;
    this.snapshot = this.past && path[1] ? shown(path[1]) : null;
    this.writable = volume.write && !this.past && path[0] !== ".trash";
    this.canRestore = volume.write;
  }

  async start() {
    this.body = h("tbody", { onkeydown: (event) => this.key(event) });
    this.more = h("div", { class: "more" });
    this.left = h("div");
    this.actions = h("div", { class: "bar actions", role: "toolbar", "aria-label": "What is chosen" });
    const all = h("input", { type: "checkbox", "aria-label": "Choose all", id: "choose-all", onchange: (event) => this.chooseAll(event.target.checked) });
    this.all = all;
    const table = h("table", { class: "files" }, h("caption", { class: "unseen" }, "Files"),
      h("thead", {}, h("tr", {}, h("th", { class: "check" }, all), ["Name", "Size", "Changed"].map((one, at) => h("th", { scope: "col", class: at ? "number" : "" }, one)))), this.body);
    const card = h("div", { class: "card drop", id: "drop" }, this.actions, table, this.more,
      h("p", { class: "over", "aria-hidden": "true" }, "Drop to upload here"));
    if (this.writable) this.takeDrops(card);
    this.view.append(this.heading(), this.left, card);
    this.drawActions();
    await this.load();
    if (document.activeElement?.id === "main") this.body.querySelector("a.name")?.focus();
    if (this.writable) await this.showInterrupted();
  }

  heading() {
    const names = this.who.volumes.map((one) => one.name);
    const crumbs = [[this.volume, []], ...this.path.map((name, at) => [shown(name), this.path.slice(0, at + 1)])];
    const input = h("input", { type: "file", multiple: true, hidden: true, id: "choose-files", onchange: (event) => this.picked(event.target) });
    const folder = h("input", { type: "file", webkitdirectory: true, hidden: true, onchange: (event) => this.picked(event.target) });
    return h("div", {}, h("div", { class: "bar" }, h("h1", {}, "Files"), h("span", { class: "grow" }),
      names.length > 1 ? h("label", { class: "inline" }, "Volume ", h("select", { id: "volume", onchange: (event) => { location.hash = link(event.target.value, []); } },
        names.map((name) => h("option", { value: name, selected: name === this.volume }, name)))) : null,
      this.writable ? [h("button", { class: "primary", id: "upload", onclick: () => input.click() }, icon("upload"), "Upload"), h("button", { onclick: () => folder.click() }, "Upload folder"),
        h("button", { id: "new-folder", onclick: () => this.makeFolder() }, icon("plus"), "New folder"),
        h("button", { id: "removed", onclick: () => this.showRemoved() }, icon("restore"), "Removed"), input, folder] : null),
    this.past ? h("p", { class: "note" }, this.snapshot ? `This is how it was in the snapshot ${this.snapshot}. Choose what is to be brought back.` : "Snapshots of this volume.") : null,
    h("nav", { class: "crumbs", "aria-label": "Where" }, h("ol", {}, crumbs.map(([name, path], at) => h("li", {}, at === crumbs.length - 1
      ? h("span", { "aria-current": "location" }, name) : h("a", { href: link(this.volume, path) }, name))))));
  }

  async load(after = null) {
    const page = await get(fileUrl(this.volume, this.path, true, `&limit=${PAGE}${after ? `&after=${encodeURIComponent(after)}` : ""}`), this.signal);
    if (!page.entries) throw new Error("this is a file");
    this.entries = after ? [...this.entries, ...page.entries] : page.entries;
    this.next = page.next;
    this.draw();
  }

  // All that was loaded before, anew.
  async again() {
    const wanted = this.entries.length;
    this.chosen.clear();
    await this.load();
    while (this.next && this.entries.length < wanted) await this.load(this.next);
    this.drawActions();
  }

  draw() {
    const rows = this.entries.map((entry) => this.row(entry));
    if (!rows.length) rows.push(h("tr", {}, h("td", { colspan: "4", class: "empty" }, this.writable ? "Nothing is here yet. Drop files, or use Upload." : "Nothing is here.")));
    swap(this.body, rows);
    swap(this.more, this.next ? h("button", { "data-key": "more", onclick: () => this.load(this.next).catch((error) => toast(sentenceOf(error))) }, `Show more than ${this.entries.length}`) : null);
    say(`${this.entries.length}${this.next ? " or more" : ""} entries`);
  }

  row(entry) {
    const name = escapeEntry(entry);
    const path = [...this.path, name];
    const isFolder = entry.type === "directory";
    const open = isFolder
      ? h("a", { href: link(this.volume, path), "data-key": name, class: "name" }, icon("folder"), h("span", {}, entry.name))
      : h("a", { href: fileUrl(this.volume, path), "data-key": name, class: "name", onclick: (event) => { event.preventDefault(); this.look(entry, path); } }, icon(entry.type === "symlink" ? "link" : "file"), h("span", {}, entry.name));
    const check = h("input", { type: "checkbox", "aria-label": `Choose ${entry.name}`, checked: this.chosen.has(name),
      onchange: (event) => { if (event.target.checked) this.chosen.set(name, entry); else this.chosen.delete(name); this.drawActions(); } });
    return h("tr", {}, h("td", { class: "check" }, check), h("th", { scope: "row" }, open),
      h("td", { class: "number" }, isFolder ? "" : bytes(entry.size)), h("td", { class: "number when" }, time(entry.mtime_ns / 1e9)));
  }

  chooseAll(on) {
    this.chosen = new Map(on ? this.entries.map((entry) => [escapeEntry(entry), entry]) : []);
    for (const one of this.body.querySelectorAll("input")) one.checked = on;
    this.drawActions();
  }

  drawActions() {
    const chosen = [...this.chosen.values()];
    this.all.checked = chosen.length > 0 && chosen.length === this.entries.length;
    swap(this.actions, chosen.length === 0 ? h("span", { class: "hint" }, this.writable ? "Choose files to download or delete them. Arrow keys move, Delete deletes." : "Choose files to download them.") : [
      h("span", {}, `${chosen.length} chosen`),
      chosen.every((one) => one.type === "file") ? h("button", { "data-key": "download", onclick: () => this.download(chosen) }, icon("download"), "Download") : null,
      this.writable ? h("button", { "data-key": "delete", class: "danger", onclick: () => this.remove([...this.chosen.values()]) }, icon("trash"), "Delete") : null,
      this.snapshot && this.canRestore ? h("button", { "data-key": "restore", class: "primary", onclick: () => this.restore(chosen) }, icon("restore"), "Bring back") : null]);
  }

  key(event) {
    const links = [...this.body.querySelectorAll("a.name")];
    const at = links.indexOf(document.activeElement);
    if (at < 0) return;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (to !== undefined) { event.preventDefault(); links[to]?.focus(); }
    if (event.key === "Delete" && this.writable) this.remove([this.entries[at]]);
    if (event.key === " ") { event.preventDefault(); links[at].closest("tr").querySelector("input").click(); }
  }

  async look(entry, path) {
    if (entry.type !== "file" && entry.type !== "symlink") { toast(`${entry.name} is a ${entry.type}: there is nothing to show.`); return; }
    await preview(entry.name, fileUrl(this.volume, path), entry.size, () => this.download([entry]));
  }

  download(entries) {
    for (const entry of entries) {
      const start = h("a", { href: fileUrl(this.volume, [...this.path, escapeEntry(entry)], false, "&download=true"), download: entry.name });
      document.body.append(start);
      start.click();
      start.remove();
    }
  }

  async remove(entries) {
    const what = entries.length === 1 ? entries[0].name : `${entries.length} entries`;
    const folders = entries.some((one) => one.type === "directory");
    if (!await confirm(`Delete ${what}?`, `${folders ? "Directories go with all that is in them. " : ""}What is deleted stays under Removed for as long as the trash keeps it.`, "Delete")) return;
    try {
      for (const entry of entries) await call("DELETE", fileUrl(this.volume, [...this.path, escapeEntry(entry)], entry.type === "directory", entry.type === "directory" ? "&recursive=true" : ""));
      say(`${what} deleted`);
    } catch (error) {
      toast(sentenceOf(error));
    }
    await this.again();
    this.body.querySelector("a.name")?.focus();
  }

  async makeFolder() {
    const name = await ask("New folder", "Name", "", "Make it");
    if (!name) return;
    if (name.includes("/") || name === "." || name === "..") { toast("A name has no slash and is not a dot or two."); return; }
    try {
      await call("PUT", fileUrl(this.volume, [...this.path, encodeURIComponent(name)], true));
      await this.again();
    } catch (error) { toast(sentenceOf(error)); }
  }

  // --- uploads ---------------------------------------------------------------------------------------

  takeDrops(card) {
    let depth = 0;
    const over = (event) => { if ([...event.dataTransfer.types].includes("Files")) { event.preventDefault(); return true; } return false; };
    card.addEventListener("dragenter", (event) => { if (over(event)) { depth += 1; card.classList.add("dragged"); } });
    card.addEventListener("dragover", over);
    card.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) { depth = 0; card.classList.remove("dragged"); } });
    card.addEventListener("drop", async (event) => {
      event.preventDefault();
      depth = 0;
      card.classList.remove("dragged");
      try { await this.put(await dropped(event.dataTransfer)); } catch (error) { toast(sentenceOf(error)); }
    });
  }

  async picked(input) {
    const files = [...input.files].map((file) => ({ file, names: (file.webkitRelativePath || file.name).split("/") }));
    input.value = "";
    await this.put(files);
  }

  async put(files) {
    let wanted = files.map(({ file, names }) => ({ file, path: [...this.path, ...names.map(encodeURIComponent)] }));
    const taken = [];
    for (const one of wanted.filter((each) => each.path.length === this.path.length + 1)) {
      if (this.entries.some((entry) => escapeEntry(entry) === one.path.at(-1)) || (this.next && await this.isThere(one.path))) taken.push(one);
    }
    if (taken.length) {
      const what = taken.length === 1 ? shown(taken[0].path.at(-1)) : `${taken.length} files`;
      const answer = await dialog(`Replace ${what}?`, h("p", {}, "Files of the same name are here already."),
        [{ label: "Cancel", value: null }, { label: "Skip these", value: "skip" }, { label: "Replace", value: "replace", class: "danger" }]);
      if (answer === null) return;
      if (answer === "skip") wanted = wanted.filter((one) => !taken.includes(one));
    }
    upload(wanted, this.volume, () => { if (!this.signal.aborted) this.again().then(() => this.showInterrupted()).catch(() => {}); });
    await this.showInterrupted();
  }

  async isThere(path) {
    try { await call("HEAD", fileUrl(this.volume, path)); return true; } catch { return false; }
  }

  async showInterrupted() {
    const found = await interrupted(this.volume, this.signal);
    const discard = async (one) => {
      if (!await confirm("Give this upload up?", "What was sent of it is lost.", "Give it up")) return;
      try { await giveUp(this.volume, one.id); } catch (error) { toast(sentenceOf(error)); }
      await this.showInterrupted();
    };
    swap(this.left, found.length ? h("section", { class: "card interrupted", id: "interrupted" }, h("h2", {}, "Interrupted uploads"),
      h("p", { class: "hint" }, "Open the directory and choose the same file again: it goes on where it stood."),
      h("ul", { class: "plain" }, found.map((one) => h("li", { class: "bar" }, h("a", { href: link(this.volume, fromText(one.path).slice(0, -1)) }, one.path),
        h("span", { class: "hint" }, `${bytes(one.offset)}${one.length ? ` of ${bytes(one.length)}` : ""}`), h("span", { class: "grow" }),
        h("button", { class: "small", "aria-label": `Give up ${one.path}`, onclick: () => discard(one) }, "Give up"))))) : null);
  }

  // --- bringing back ---------------------------------------------------------------------------------

  async bringBack(wanted) {
    const query = `?volume=${encodeURIComponent(this.volume)}`;
    let job = await post(`/api/v1/restores${query}`, wanted);
    const ended = new AbortController();
    await poll(async () => {
      job = await get(`/api/v1/restores/${job.id}${query}`);
      if (job.state !== "running") ended.abort();
    }, 300, ended.signal, (error) => { toast(sentenceOf(error)); ended.abort(); });
    return job;
  }

  async restore(entries) {
    for (const entry of entries) {
      const inside = [...this.path.slice(2), escapeEntry(entry)];
      const wanted = { snapshot: this.snapshot, ...fields(inside) };
      try {
        let job = await this.bringBack(wanted);
        if (job.state === "failed" && /exists/.test(job.error ?? "")) {
          const answer = await dialog(`${entry.name} is there`, h("p", {}, "Replace what is there now, or put the old one beside it?"),
            [{ label: "Cancel", value: null }, { label: "Replace", value: "replace", class: "danger" }, { label: "Put beside", value: "beside", class: "primary" }]);
          if (answer === null) continue;
          const beside = [...inside.slice(0, -1), `${inside.at(-1)}${encodeURIComponent(` (${this.snapshot})`)}`];
          job = await this.bringBack(answer === "replace" ? { ...wanted, force: true } : { ...wanted, ...fields(beside, "to") });
        }
        if (job.state === "done") toast(`${entry.name} is back.`, "done");
        else toast(`${entry.name} was not brought back: ${job.error}.`);
      } catch (error) { toast(sentenceOf(error)); }
    }
  }

  async showRemoved() {
    const list = h("div", { id: "trash" }, "…");
    const where = fields(this.path);
    const query = `?volume=${encodeURIComponent(this.volume)}&limit=200&path=${encodeURIComponent(where.path)}${where.path_base64 ? `&path_base64=${encodeURIComponent(where.path_base64)}` : ""}`;
    const draw = async () => {
      const { removed, more } = await get(`/api/v1/trash${query}`);
      swap(list, removed.length ? h("ul", { class: "plain" }, removed.map((one) => h("li", { class: "bar" },
        h("span", { class: "name" }, icon(one.kind === "directory" ? "folder" : "file"), h("span", {}, one.path)), h("span", { class: "grow" }),
        h("span", { class: "hint" }, time(one.removed)),
        this.writable ? h("button", { class: "small", "data-key": one.trash, "aria-label": `Bring ${one.path} back`, onclick: async () => {
          try {
            const job = await this.bringBack(fields(fromFields(one, "trash")));
            if (job.state !== "done") toast(`${one.path} was not brought back: ${job.error}.`);
            await draw();
            await this.again();
          } catch (error) { toast(sentenceOf(error)); }
        } }, "Bring back") : null))) : h("p", { class: "empty" }, "Nothing was removed from here lately."),
      more ? h("p", { class: "hint" }, "There is more. Bring some back, or use graviton restore.") : null);
    };
    const shownNow = dialog(`Removed from ${where.path}`, list, [{ label: "Close", value: null, class: "primary" }]);
    try { await draw(); } catch (error) { swap(list, h("p", { class: "wrong" }, sentenceOf(error))); }
    await shownNow;
  }
}
