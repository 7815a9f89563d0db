// A look at a file. Pictures, sound and film by their elements, all else as text: nothing of it ever runs here.

import { call, sentenceOf } from "./api.js";
import { dialog, h } from "./dom.js";
import { bytes } from "./format.js";

const TEXT = 256 * 1024;
const PICTURES = /\.(png|jpe?g|gif|webp|avif|bmp|ico|svg)$/i;
const SOUND = /\.(mp3|ogg|oga|opus|wav|flac|m4a)$/i;
const FILM = /\.(mp4|webm|ogv|mov|m4v)$/i;

async function text(url, size) {
  const length = Math.min(size, TEXT);
  if (!length) return h("p", { class: "empty" }, "The file is empty.");
  const answer = await call("GET", url, { headers: { Range: `bytes=0-${length - 1}` } });
  const raw = new Uint8Array(await answer.arrayBuffer());
  const binary = raw.subarray(0, 8192).includes(0);
  const shown = binary ? dump(raw.subarray(0, 4096)) : new TextDecoder().decode(raw);
  return [h("pre", { tabindex: "0" }, shown), size > length || binary
    ? h("p", { class: "hint" }, `The first ${bytes(binary ? Math.min(4096, size) : length)} of ${bytes(size)}.`) : null];
}

function dump(raw) {
  const lines = [];
  for (let at = 0; at < raw.length; at += 16) {
    const part = [...raw.subarray(at, at + 16)];
    lines.push(`${at.toString(16).padStart(6, "0")}  ${part.map((one) => one.toString(16).padStart(2, "0")).join(" ").padEnd(47)}  ${part.map((one) => (one > 31 && one < 127 ? String.fromCharCode(one) : ".")).join("")}`);
  }
  return lines.join("\n");
}

export async function preview(name, url, size, download) {
  const holder = h("div", { class: "preview", id: "preview" });
  const failed = () => holder.replaceChildren(h("p", { class: "wrong" }, "The browser cannot show this. Download it to open it with another program."));
  if (PICTURES.test(name)) holder.append(h("img", { src: url, alt: name, onerror: failed }));
  else if (SOUND.test(name)) holder.append(h("audio", { src: url, controls: true, onerror: failed }));
  else if (FILM.test(name)) holder.append(h("video", { src: url, controls: true, onerror: failed }));
  else {
    try { holder.append(...[await text(url, size)].flat().filter(Boolean)); } catch (error) { holder.append(h("p", { class: "wrong" }, sentenceOf(error))); }
  }
  if (await dialog(name, holder, [{ label: "Download", value: "download" }, { label: "Close", value: null, class: "primary" }]) === "download") download();
}
