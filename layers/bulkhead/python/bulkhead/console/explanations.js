// What `$explain-access` says of many records, asked for in batches as they come into view.

import { named, value, valueOf } from "./fhir.js";
import { accountsOf, patientOf, scopeOf } from "./session.js";

const BATCH = 40;

/** The query of `$explain-access` for claims of a token: with it the answer holds decisions. */
export function queryOf(claims) {
  const query = new URLSearchParams();
  const [accounts, patient] = [accountsOf(claims), patientOf(claims)];
  // A patient that cannot be read fences to nothing, as no account does.
  if (patient === "") query.set("accounts", "");
  else if (accounts) query.set("accounts", accounts.join(","));
  if (patient) query.set("patient", patient);
  if (scopeOf(claims)) query.set("scope", scopeOf(claims));
  return query.toString();
}

/** The answer of `$explain-access` as plain data. */
export function read(parameters) {
  const words = (part, name) => named(part, name).map(value);
  return {
    key: valueOf(parameters, "resource"),
    accounts: named(parameters, "account").map((part) => ({
      account: valueOf(part, "account"),
      sources: named(part, "source").map((source) => ({
        kind: valueOf(source, "kind"),
        from: valueOf(source, "from"),
        through: words(source, "through"),
        until: valueOf(source, "until"),
      })),
    })),
    sealed: valueOf(parameters, "sealed") === true,
    private: valueOf(parameters, "private") === true,
    compartments: named(parameters, "compartment").map((part) => ({ target: valueOf(part, "compartment"), through: words(part, "through") })),
    proxies: named(parameters, "proxy").map((part) => ({ rule: valueOf(part, "rule"), resource: valueOf(part, "resource") })),
    decisions: Object.fromEntries(
      named(parameters, "decision").map((part) => [
        valueOf(part, "interaction"),
        { allowed: valueOf(part, "allowed"), rule: valueOf(part, "rule"), reason: valueOf(part, "reason") },
      ]),
    ),
  };
}

/** Whether an account is the record's own, inherited, or both. */
export function kindOf(given) {
  const kinds = new Set(given.sources.map((source) => source.kind));
  return kinds.size > 1 ? "both" : ([...kinds][0] ?? "");
}

/** When the accounts of these sources end: the latest end counts, and none is later than any. Undefined for none. */
export function endOf(sources) {
  const ends = sources.map((source) => source.until);
  return ends.includes(undefined) ? undefined : ends.sort().at(-1);
}

/** Explanations by key, for one query. Event `change` after each batch. `error` is that of the last batch. */
export class Explanations extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.calls = [];
    this.#reset();
  }

  #reset() {
    this.found = new Map();
    this.queue = [];
    this.error = null;
    this.round = (this.round ?? 0) + 1;
  }

  /** Begin anew, for another query or because the records have changed. */
  start(query) {
    this.query = query;
    this.#reset();
    this.dispatchEvent(new Event("change"));
  }

  get(key) {
    return this.found.get(key);
  }

  /** Ask for these; those `first` before others that wait. */
  want(keys, first = false) {
    const missing = keys.filter((key) => !this.found.has(key) && (first || !this.queue.includes(key)));
    if (!missing.length) return;
    for (const key of missing) if (first) this.queue = this.queue.filter((other) => other !== key);
    this.queue = first ? [...missing, ...this.queue] : [...this.queue, ...missing];
    if (!this.running) this.#run();
  }

  async #run() {
    this.running = true;
    while (this.queue.length && !this.error) {
      const round = this.round;
      const keys = this.queue.splice(0, BATCH);
      try {
        const entries = await this.#answers(keys);
        if (round !== this.round) continue;
        keys.forEach((key, number) => {
          const resource = entries[number]?.resource;
          this.found.set(key, resource?.resourceType === "Parameters" ? read(resource) : null);
        });
      } catch (error) {
        if (round === this.round) this.error = error;
      }
      this.dispatchEvent(new Event("change"));
    }
    this.running = false;
  }

  async #answers(keys) {
    const query = this.query ? `?${this.query}` : "";
    const entry = keys.map((key) => ({ request: { method: "GET", url: `${key}/$explain-access${query}` } }));
    const call = this.api.prepare("POST", "", { body: { resourceType: "Bundle", type: "batch", entry }, repeatable: true });
    call.url = call.url.replace(/\/$/, "");
    this.calls = [call];
    const { body } = await this.api.send(call);
    return body.entry ?? [];
  }
}
