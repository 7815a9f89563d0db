// Requests, and what their failures mean in sentences.

export class Problem extends Error {
  constructor(status, detail, retry) {
    super(detail);
    this.status = status;
    this.retry = retry;
  }

  get sentence() {
    if (this.status === 0) return "The daemon does not answer. Check that it runs and that this machine is connected; then try again.";
    const detail = this.message.charAt(0).toUpperCase() + this.message.slice(1);
    const hint = {
      401: "Sign in again.", 403: "Sign in with a token that allows it ('graviton token create').",
      404: "It may have been removed or renamed meanwhile: reload the list.",
      423: "Somebody is at it. Try again when they have finished.",
      429: this.retry ? `Try again in ${this.retry} seconds.` : "Try again in a moment.",
      503: "Try again in a moment; the daemon's log says what is missing.",
      507: "Free some space, empty the trash, or raise the quota.",
    }[this.status];
    const full = /[.!?]$/.test(detail) ? detail : `${detail}.`;
    return hint ? `${full} ${hint}` : full;
  }
}

export const sentenceOf = (error) => (error instanceof Problem ? error.sentence : `The page failed: ${error.message}. Reload it.`);

export const session = { proof: null };

export function headersFor(method) {
  return session.proof && method !== "GET" && method !== "HEAD" ? { "X-Graviton-Proof": session.proof } : {};
}

export async function problemOf(status, text, retry) {
  let detail = `the daemon answered ${status}`;
  try { detail = JSON.parse(text).detail ?? detail; } catch { /* a proxy's page, not the daemon's */ }
  if (status === 401) document.dispatchEvent(new CustomEvent("signed-out"));
  return new Problem(status, detail, Number(retry) || 0);
}

export async function call(method, path, { json, body, headers, signal } = {}) {
  const sent = { ...headersFor(method), ...headers };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method, headers: sent, signal, cache: "no-store", credentials: "same-origin",
      body: json === undefined ? body : JSON.stringify(json),
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "no answer", 0);
  }
  if (!answer.ok) throw await problemOf(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer;
}

export async function get(path, signal) {
  return (await call("GET", path, { signal })).json();
}

export async function post(path, json, signal) {
  const answer = await call("POST", path, { json, signal });
  return answer.status === 204 ? null : answer.json();
}

// Again and again while the page is seen and the signal lives; a failure is told once.
export async function poll(work, milliseconds, signal, failed) {
  let good = true;
  while (!signal.aborted) {
    if (!document.hidden) {
      try {
        await work();
        good = true;
      } catch (error) {
        if (error.name === "AbortError" || error.status === 401) return;
        if (good) failed(error);
        good = false;
      }
    }
    await new Promise((resolve) => { setTimeout(resolve, milliseconds); signal.addEventListener("abort", resolve, { once: true }); });
  }
}
