// Requests to the FHIR API of this server, with the token of the session. Nothing else of the console sends a request to it.

const FHIR_JSON = "application/fhir+json";
/** Has a server show accounts and compartments in `meta` that does so on request only (setting EXTENDED_META). */
export const EXTENDED = { "X-Medplum": "extended" };
const LONGEST_PAUSE = 15_000;
const ELSEWHERE = "The answer is too large for this page: the server hands it over at another host, which the policy of the page does not allow. The request below, with -L, fetches it.";

/** An answer that is no success, in the server's own words. */
export class ApiError extends Error {
  constructor(status, outcome) {
    const issues = outcome?.issue ?? [];
    super(issues.map((issue) => issue.diagnostics ?? issue.details?.text ?? issue.code).join("; ") || `The server answered ${status}.`);
    this.status = status;
    this.issues = issues;
  }
}

/** The connection broke, and the request must not be sent again by itself. */
export class ConnectionLost extends Error {
  constructor() {
    super("The connection was lost before the answer came. Nothing that you entered is lost: send it again.");
    this.issues = [];
  }
}

/** Sends requests. Events: `lost` (detail: seconds to the next attempt), `back` with each answer, `unauthorized`. */
export class Api extends EventTarget {
  constructor(session) {
    super();
    this.session = session;
    this.base = new URL("fhir/R4/", document.baseURI).href;
    this.waiting = new Set();
  }

  /** The path below the base of a URL in an answer, whose host may be another name of this server. */
  path(url) {
    const found = /\/fhir\/R4\/(.*)$/.exec(url);
    return found ? found[1] : url;
  }

  /** A request as data, for `send`, and to show. `repeatable`: it may be sent again when the connection breaks. */
  prepare(method, path, { body, headers = {}, repeatable = method === "GET", signal } = {}) {
    return { method, url: this.base + path, body, headers, repeatable, signal };
  }

  /** The answer: `status`, `headers`, `body` (parsed, or null). ApiError; ConnectionLost; AbortError. */
  async send(call) {
    const started = performance.now();
    const response = await this.#answered(call);
    // An answer above 6 MB lies in the bucket.
    if (response.type === "opaqueredirect") throw new ApiError(undefined, { issue: [{ diagnostics: ELSEWHERE }] });
    const text = await response.text();
    Object.assign(call, { status: response.status, milliseconds: Math.round(performance.now() - started) });
    let body = null;
    try {
      body = text ? JSON.parse(text) : null;
    } catch {
      body = null;
    }
    if (response.status === 401) this.dispatchEvent(new Event("unauthorized"));
    if (!response.ok) throw new ApiError(response.status, body);
    return { status: response.status, headers: response.headers, body };
  }

  /** Ends the pause before the next attempt. */
  retry() {
    for (const wake of this.waiting) wake();
  }

  async #answered(call) {
    for (let attempt = 0; ; attempt++) {
      try {
        const response = await fetch(call.url, this.#options(call));
        // Another request may have lost the connection, and have ended with its view.
        this.dispatchEvent(new Event("back"));
        const busy = response.status === 429 || response.status === 503;
        if (!busy || !call.repeatable || attempt > 4) return response;
        await this.#pause(1000 * (Number(response.headers.get("retry-after")) || 1), call.signal);
      } catch (error) {
        if (error.name === "AbortError") throw error;
        if (!call.repeatable) throw new ConnectionLost();
        const pause = Math.min(1000 * 2 ** attempt, LONGEST_PAUSE);
        this.dispatchEvent(new CustomEvent("lost", { detail: pause / 1000 }));
        await this.#pause(pause, call.signal);
      }
    }
  }

  #options(call) {
    const headers = { Accept: FHIR_JSON, ...call.headers };
    if (this.session.token) headers.Authorization = `Bearer ${this.session.token}`;
    if (call.body !== undefined) headers["Content-Type"] = FHIR_JSON;
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    return { method: call.method, headers, body, signal: call.signal, cache: "no-store", credentials: "omit", redirect: "manual", referrerPolicy: "no-referrer" };
  }

  #pause(milliseconds, signal) {
    return new Promise((resolve, reject) => {
      const wake = () => {
        clearTimeout(timer);
        this.waiting.delete(wake);
        removeEventListener("online", wake);
        signal?.aborted ? reject(new DOMException("aborted", "AbortError")) : resolve();
      };
      const timer = setTimeout(wake, milliseconds);
      this.waiting.add(wake);
      addEventListener("online", wake);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }
}

/** A request as a command for a shell. The token is never in it: it is `$TOKEN`. */
export function curl(call, withToken) {
  const quoted = (text) => `'${text.replaceAll("'", String.raw`'\''`)}'`;
  const parts = ["curl -s"];
  if (call.method !== "GET" && !(call.method === "POST" && call.body !== undefined)) parts.push(`-X ${call.method}`);
  if (withToken) parts.push('-H "Authorization: Bearer $TOKEN"');
  for (const [name, value] of Object.entries(call.headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  parts.push(quoted(call.url));
  if (call.body !== undefined) parts.push("-H 'Content-Type: application/fhir+json'", `-d ${quoted(JSON.stringify(call.body))}`);
  return parts.join(" \\\n  ");
}

/** A key for `Idempotency-Key`: the same request sent twice is one job. */
export function idempotencyKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
