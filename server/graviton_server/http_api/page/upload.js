// Uploads in parts. What was sent stays at the daemon: after a broken connection, or when the same file is chosen
// again after a reload, an upload goes on where it stood.

import { call, get, headersFor, post, Problem, problemOf, sentenceOf } from "./api.js";
import { h, say } from "./dom.js";
import { bytes, duration } from "./format.js";
import { fields, fileUrl, shown } from "./paths.js";

const PART = 8 * 1024 * 1024;
const AT_ONCE = 2;
const TRIES = 6;
const KEY = "graviton-upload:";

export const tray = h("section", { class: "tray", id: "tray", "aria-label": "Uploads", hidden: true },
  h("div", { class: "bar" }, h("h2", {}, "Uploads"), h("span", { class: "grow" }),
    h("button", { class: "quiet", id: "clear-uploads", onclick: clear }, "Clear finished")), h("ul", { class: "plain" }));
const list = tray.querySelector("ul");
const all = [];

export const pending = () => all.some((one) => one.state === "waiting" || one.state === "running");
export const isActive = (id) => all.some((one) => one.id === id && one.state !== "failed" && one.state !== "stopped");

function clear() {
  for (const one of [...all]) if (one.state === "done" || one.state === "stopped") { all.splice(all.indexOf(one), 1); one.row.remove(); }
  tray.hidden = all.length === 0;
}

// One part, with its progress. XMLHttpRequest: fetch does not tell how far a body is.
function send(url, part, offset, told, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PATCH", url);
    request.setRequestHeader("Upload-Offset", String(offset));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    for (const [name, value] of Object.entries(headersFor("PATCH"))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => told(offset + event.loaded);
    request.onerror = () => reject(new Problem(0, "no answer", 0));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    request.onload = async () => {
      if (request.status === 204) resolve(Number(request.getResponseHeader("Upload-Offset")));
      else reject(await problemOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(part);
  });
}

class Upload {
  constructor(file, volume, path, done) {
    Object.assign(this, { file, volume, path, done, state: "waiting", offset: 0, id: null, note: "" });
    this.key = `${KEY}${volume}:${path.join("/")}:${file.size}:${file.lastModified}`;
    this.bar = h("progress", { max: file.size || 1, value: 0, "aria-label": `Upload of ${shown(path.at(-1))}` });
    this.text = h("span", { class: "hint" });
    this.button = h("button", { class: "small", onclick: () => this.toggle() });
    this.row = h("li", { class: "upload" }, h("span", { class: "name" }, shown(path.at(-1))), this.bar, this.text, this.button);
    list.append(this.row);
    this.draw();
  }

  draw() {
    this.row.dataset.state = this.state;
    this.bar.value = this.state === "done" ? this.file.size || 1 : this.offset;
    const left = this.began && this.offset > this.first ? ((this.file.size - this.offset) * (Date.now() - this.began)) / 1000 / (this.offset - this.first) : 0;
    this.text.textContent = {
      waiting: "waits for its turn", done: `done, ${bytes(this.file.size)}`, stopped: "stopped: choose the file again to go on",
      failed: this.note, running: `${bytes(this.offset)} of ${bytes(this.file.size)}${left > 2 ? `, ${duration(left)} left` : ""}${this.note ? ` – ${this.note}` : ""}`,
    }[this.state];
    this.button.textContent = { waiting: "Stop", running: "Stop", failed: "Try again" }[this.state] ?? "";
    this.button.setAttribute("aria-label", `${this.button.textContent} ${shown(this.path.at(-1))}`);
    this.button.hidden = !this.button.textContent;
  }

  toggle() {
    if (this.state === "failed") { this.state = "waiting"; this.draw(); next(); return; }
    this.state = "stopped";
    this.stop?.abort();
    this.draw();
    next();
  }

  url() { return `/api/v1/uploads/${this.id}?volume=${encodeURIComponent(this.volume)}`; }

  async find() {
    const known = localStorage.getItem(this.key);
    if (known) {
      this.id = known;
      try {
        const told = await get(this.url(), this.stop.signal);
        this.offset = told.offset;
        this.limit = told.part_limit;
        return false;
      } catch (error) {
        if (error.status !== 404) throw error;
        if (this.completing && await this.isThere()) return true;
      }
    }
    this.completing = false;
    const told = await post(`/api/v1/uploads?volume=${encodeURIComponent(this.volume)}`, { length: this.file.size, ...fields(this.path) }, this.stop.signal);
    this.id = told.id;
    this.offset = 0;
    this.limit = told.part_limit;
    localStorage.setItem(this.key, this.id);
    return false;
  }

  // It was completed, and the answer was lost.
  async isThere() {
    const answer = await call("HEAD", fileUrl(this.volume, this.path), { signal: this.stop.signal });
    return Number(answer.headers.get("Content-Length")) === this.file.size;
  }

  async run() {
    this.state = "running";
    this.stop = new AbortController();
    this.note = "";
    let tries = 0;
    while (this.state === "running") {
      try {
        const complete = await this.find();
        this.began = Date.now();
        this.first = this.offset;
        while (!complete && this.offset < this.file.size) {
          const at = this.offset;
          const part = this.file.slice(at, at + Math.min(PART, this.limit));
          this.offset = await send(this.url(), part, at, (moment) => { this.offset = moment; this.draw(); }, this.stop.signal);
          tries = 0;
          this.note = "";
          this.draw();
        }
        this.completing = true;
        if (!complete) await post(this.url());
        localStorage.removeItem(this.key);
        this.state = "done";
        say(`${shown(this.path.at(-1))} is uploaded.`);
        this.done();
      } catch (error) {
        if (error.name === "AbortError") break;
        const again = error.status === 0 || error.status === 429 || error.status === 503 || error.status === 408 || error.status === 409 || error.status === 423;
        tries += 1;
        if (!again || tries >= TRIES) {
          this.state = "failed";
          this.note = sentenceOf(error);
        } else {
          this.note = "interrupted, goes on by itself";
          this.draw();
          await new Promise((resolve) => setTimeout(resolve, Math.min(15000, (error.retry * 1000) || 500 * 2 ** tries)));
        }
      }
    }
    this.draw();
    next();
  }
}

function next() {
  let free = AT_ONCE - all.filter((one) => one.state === "running").length;
  for (const one of all) if (free > 0 && one.state === "waiting") { free -= 1; one.run(); }
}

// files: [{ file, path }], the path escaped from the volume's root.
export function upload(files, volume, done) {
  for (const { file, path } of files) all.push(new Upload(file, volume, path, done));
  tray.hidden = all.length === 0;
  next();
}

// Under way at the daemon, and not here: interrupted, or of somebody else.
export async function interrupted(volume, signal) {
  const { uploads } = await get(`/api/v1/uploads?volume=${encodeURIComponent(volume)}`, signal);
  return uploads.filter((one) => one.path && !isActive(one.id));
}

export async function giveUp(volume, id) {
  await call("DELETE", `/api/v1/uploads/${id}?volume=${encodeURIComponent(volume)}`);
  for (const key of Object.keys(localStorage)) if (key.startsWith(KEY) && localStorage.getItem(key) === id) localStorage.removeItem(key);
}

// What was dropped, directories with all that is in them.
export async function dropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const found = [];
  async function walk(entry, above) {
    if (entry instanceof File) { found.push({ file: entry, names: [...above, entry.name] }); return; }
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => { entry.file(resolve, reject); });
      found.push({ file, names: [...above, entry.name] });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
      if (!some.length) return;
      for (const one of some) await walk(one, [...above, entry.name]);
    }
  }
  for (const entry of entries) if (entry) await walk(entry, []);
  return found;
}
