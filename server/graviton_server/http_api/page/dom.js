// Elements made by hand. Text is always a text node: names of files may hold anything.

const SVG = "http://www.w3.org/2000/svg";

const tagOf = (element) => element.tagName;

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if ((name === "value" && tagOf(element) !== "PROGRESS") || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A button that submits says so.
export const h = (tag, props, ...children) =>
  fill(document.createElement(tag), tag === "button" ? { type: "button", ...props } : props, children);

export const svg = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

// Replaces what is shown, and keeps the focus where it was, by data-key.
export function swap(container, ...nodes) {
  const active = container.contains(document.activeElement) ? document.activeElement : null;
  const key = active?.dataset.key;
  container.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  if (key) [...container.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus();
}

// What is shown again and again is changed in place: a click that began before still ends on its button. Elements of
// another data-key are other things, and replaced with what they listen to.
export function update(container, ...nodes) {
  const wanted = nodes.flat(Infinity).filter(Boolean);
  [...container.childNodes].slice(wanted.length).forEach((one) => one.remove());
  wanted.forEach((fresh, at) => {
    const old = container.childNodes[at];
    if (!old) container.append(fresh);
    else if (old.nodeName !== fresh.nodeName || old.dataset?.key !== fresh.dataset?.key) old.replaceWith(fresh);
    else if (fresh.nodeType === Node.TEXT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; } else {
      for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
      for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
      update(old, ...fresh.childNodes);
    }
  });
}

export function say(text) {
  document.getElementById("said").textContent = text;
}

export function toast(text, kind = "error") {
  const shown = h("div", { class: `toast ${kind}` }, h("span", {}, text),
    h("button", { class: "quiet", "aria-label": "Close this message", onclick: () => shown.remove() }, "✕"));
  const all = document.getElementById("toasts");
  all.append(shown);
  while (all.children.length > 4) all.firstChild.remove();
  if (kind !== "error") setTimeout(() => shown.remove(), 6000);
}

const ICONS = {
  overview: "M3 13h4l3-8 4 14 3-6h4", files: "M3 6a2 2 0 0 1 2-2h4l2 3h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z",
  snapshots: "M12 7v5l3 2M3.5 12a8.5 8.5 0 1 0 2.6-6.1M3.5 4v4h4",
  targets: "M4 6c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.300-8-3zm0 0v12c0 1.700 3.600 3 8 3s8-1.300 8-3V6M4 12c0 1.700 3.600 3 8 3s8-1.300 8-3",
  jobs: "M4 6h10M4 12h16M4 18h7", sessions: "M9 11a4 4 0 1 0 0-8 4 4 0 0 0 0 8zm-7 10c0-4 3-6 7-6s7 2 7 6M16 4a4 4 0 0 1 0 7m3 4c2 .8 3 2.600 3 6",
  file: "M6 3h8l5 5v13H6zM14 3v5h5", folder: "M3 6a2 2 0 0 1 2-2h4l2 3h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2z",
  link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
  upload: "M12 16V4m-5 5 5-5 5 5M4 20h16", download: "M12 4v12m-5-5 5 5 5-5M4 20h16", trash: "M4 7h16M9 7V4h6v3M6 7l1 14h10l1-14",
  plus: "M12 5v14M5 12h14", restore: "M3.5 12a8.5 8.5 0 1 0 2.600-6.100M3.500 4v4h4", theme: "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z",
};

export const icon = (name) => svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" },
  svg("path", { d: ICONS[name] ?? ICONS.file }));

// A native dialog: Escape closes it, and the focus goes back to where it was.
export function dialog(title, content, buttons) {
  return new Promise((resolve) => {
    let answer = null;
    const close = (value) => { answer = value; box.close(); };
    const box = h("dialog", { "aria-labelledby": "dialog-title" },
      h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); close(buttons.at(-1)?.value ?? true); } },
        h("header", {}, h("h2", { id: "dialog-title" }, title),
          h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => close(null) }, "✕")),
        h("div", { class: "content" }, content),
        h("footer", {}, buttons.map((one, index) => h("button", {
          type: index === buttons.length - 1 ? "submit" : "button", class: one.class,
          onclick: index === buttons.length - 1 ? null : () => close(one.value) }, one.label)))));
    box.addEventListener("close", () => { box.remove(); resolve(answer); });
    document.body.append(box);
    box.showModal();
    const first = box.querySelector(".content input") ?? box.querySelector("footer button:last-child");
    first?.focus();
    first?.select?.();
  });
}

export const confirm = (title, text, label, danger = true) => dialog(title, h("p", {}, text),
  [{ label: "Cancel", value: null }, { label, value: true, class: danger ? "danger" : "primary" }]);

export async function ask(title, label, value, button) {
  const input = h("input", { type: "text", value, required: true, autocomplete: "off", spellcheck: "false" });
  const agreed = await dialog(title, h("label", { class: "field" }, h("span", {}, label), input),
    [{ label: "Cancel", value: null }, { label: button, value: true, class: "primary" }]);
  return agreed ? input.value : null;
}
