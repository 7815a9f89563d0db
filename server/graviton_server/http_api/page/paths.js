// Names are bytes. A path is a list of names as they stand in a URL, each escaped byte by byte.

export function escapeEntry(entry, key = "name") {
  const exact = entry[`${key}_base64`];
  if (!exact) return encodeURIComponent(entry[key]);
  return escapeBytes(Uint8Array.from(atob(exact), (one) => one.charCodeAt(0)));
}

function escapeBytes(raw) {
  return [...raw].map((one) => (/[A-Za-z0-9._~-]/.test(String.fromCharCode(one))
    ? String.fromCharCode(one) : `%${one.toString(16).toUpperCase().padStart(2, "0")}`)).join("");
}

function rawOf(name) {
  const raw = [];
  for (let at = 0; at < name.length; at += 1) {
    if (name[at] === "%") { raw.push(parseInt(name.slice(at + 1, at + 3), 16)); at += 2; } else raw.push(name.charCodeAt(at));
  }
  return Uint8Array.from(raw);
}

export const shown = (name) => new TextDecoder().decode(rawOf(name));

// As JSON has it: the text, and what it cannot say in Base64.
export function fields(path, key = "path") {
  const raw = [];
  for (const name of path) raw.push(47, ...rawOf(name));
  const whole = Uint8Array.from(raw.length ? raw : [47]);
  const found = { [key]: new TextDecoder().decode(whole) };
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(whole);
  } catch {
    found[`${key}_base64`] = btoa(String.fromCharCode(...whole));
  }
  return found;
}

export const fromText = (text) => text.split("/").filter(Boolean).map(encodeURIComponent);

// "/a/b" of an answer, with its exact form where there is one.
export function fromFields(entry, key = "path") {
  return escapeEntry(entry, key).split(/%2F|\//).filter(Boolean);
}

export const fileUrl = (volume, path, slash = false, more = "") =>
  `/api/v1/files/${path.join("/")}${slash && path.length ? "/" : ""}?volume=${encodeURIComponent(volume)}${more}`;

export const link = (volume, path) => `#/files/${encodeURIComponent(volume)}/${path.join("/")}`;
