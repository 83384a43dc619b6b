// The gateway's API: every refusal is an error whose message is one sentence.

const LONGEST_WAIT_S = 10;
const TRIES = 3;

/** A refusal; `status` 0 means that the gateway did not answer at all. */
export class ApiError extends Error {
  constructor(status, sentence, retryAfterS = null) {
    super(sentence);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }

  /** Whether this gateway has no such address (or not for this method): an older one. */
  get unsupported() {
    return this.status === 404 || this.status === 405;
  }
}

/** "signed-out" is said here when the gateway wants to know who asks. */
export const signals = new EventTarget();

const AWAY = "The gateway does not answer. Is it running, and are you online?";

async function refusal(response) {
  const wait = Number.parseInt(response.headers.get("retry-after") ?? "", 10);
  const retryAfterS = Number.isNaN(wait) ? null : wait;
  let sentence = `The gateway answered ${response.status}.`;
  if ((response.headers.get("content-type") ?? "").includes("json")) {
    const problem = await response.json().catch(() => null); // cut short: the status says enough
    if (typeof problem?.detail === "string") sentence = problem.detail;
  }
  if (response.status === 429 && retryAfterS !== null) sentence += ` Try again in ${retryAfterS} s.`;
  return new ApiError(response.status, sentence, retryAfterS);
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/**
 * Ask the API; resolves to the JSON of the answer, null where there is none. A GET that comes too soon (429) is asked
 * again when the gateway says so. Throws ApiError, or AbortError when `signal` was aborted.
 */
export async function api(path, { method = "GET", body, headers = {}, signal } = {}) {
  for (let attempt = 1; ; attempt += 1) {
    let response;
    try {
      response = await fetch(path, {
        method,
        signal,
        credentials: "same-origin",
        headers: { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, AWAY);
    }
    if (response.ok) {
      const hasJson = response.status !== 204 && (response.headers.get("content-type") ?? "").includes("json");
      return hasJson ? response.json() : null;
    }
    const refused = await refusal(response);
    if (refused.status === 401) signals.dispatchEvent(new Event("signed-out"));
    const soon = refused.status === 429 && (refused.retryAfterS ?? 1) <= LONGEST_WAIT_S;
    if (method !== "GET" || !soon || attempt === TRIES) throw refused;
    await pause(refused.retryAfterS ?? 1, signal);
  }
}

/** A path with those parameters that say something. */
export function withQuery(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/** A key that makes a repeated request the same one; also where a page without TLS has no randomUUID. */
export function newKey() {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(random, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Send a form; `progress` hears what part of it has gone, 0 to 1. Only XMLHttpRequest tells that. */
export function upload(path, form, { key, progress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("idempotency-key", key);
    request.setRequestHeader("accept", "application/json");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    request.addEventListener("error", () => reject(new ApiError(0, AWAY)));
    request.addEventListener("abort", () => reject(new DOMException("The upload was stopped.", "AbortError")));
    request.addEventListener("load", async () => {
      const response = new Response(request.responseText, {
        status: request.status,
        headers: { "content-type": request.getResponseHeader("content-type") ?? "" },
      });
      if (response.ok) return resolve(await response.json());
      if (response.status === 401) signals.dispatchEvent(new Event("signed-out"));
      return reject(await refusal(response));
    });
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
