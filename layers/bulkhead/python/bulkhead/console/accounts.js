// The accounts that records carry: their names, their colours, their chips.

import { html, nothing } from "./lit.js";
import { grouped, personName, until } from "./fhir.js";

const HUES = 10;
const UNTIL = "urn:bulkhead:until";

/** Names and colours of accounts. Event `change` when a name becomes known. */
export class Accounts extends EventTarget {
  constructor(api) {
    super();
    this.api = api;
    this.names = new Map();
    this.hues = new Map();
    this.wanted = new Set();
  }

  /** The name of an account, or its reference until the name is known. */
  name(reference) {
    if (!this.names.has(reference)) this.#want(reference);
    return this.names.get(reference) ?? reference;
  }

  forget() {
    this.names.clear();
  }

  know(reference, name) {
    if (name) this.names.set(reference, name);
  }

  /** A number for a class of console.css: the same account has the same colour on every visit, and no two of a page share one while there are enough. */
  hue(reference) {
    if (!this.hues.has(reference)) {
      let hue = [...reference].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 9973, 7) % HUES;
      const taken = new Set(this.hues.values());
      for (let step = 0; step < HUES && taken.has(hue); step++) hue = (hue + 3) % HUES;
      this.hues.set(reference, hue);
    }
    return this.hues.get(reference);
  }

  #want(reference) {
    this.names.set(reference, undefined);
    this.wanted.add(reference);
    if (this.wanted.size === 1) setTimeout(() => this.#fetch());
  }

  async #fetch() {
    const wanted = [...this.wanted].filter((reference) => /^[A-Za-z]+\/[A-Za-z0-9.-]+$/.test(reference));
    this.wanted.clear();
    for (const [type, references] of grouped(wanted, (reference) => reference.split("/")[0])) {
      const ids = references.map((reference) => reference.split("/")[1]).join(",");
      try {
        const { body } = await this.api.send(this.api.prepare("GET", `${type}?_id=${ids}&_elements=name&_count=100`));
        for (const { resource } of body.entry ?? []) this.know(`${type}/${resource.id}`, personName(resource));
      } catch {
        // A token that may not read the name sees the reference.
      }
    }
    this.dispatchEvent(new Event("change"));
  }
}

/** The accounts in `meta.accounts`: `{account, until}`. */
export function carried(resource) {
  return (resource.meta?.accounts ?? []).map((each) => ({
    account: each.reference,
    until: each.extension?.find((extension) => extension.url === UNTIL)?.valueInstant,
  }));
}

const KINDS = { own: "own", inherited: "inherited", both: "own, and inherited", "": "" };

/** A chip: solid for an account of its own, outlined for an inherited one, tinted while nobody has said which. */
export function chip(accounts, { account, until: end, kind = "" }) {
  const style = kind === "both" ? "own" : kind || "plain";
  return html`<span class="chip ${style} hue-${accounts.hue(account)}" title="${account}${kind ? `: ${KINDS[kind]}` : ""}"
    ><span class="chip-name">${accounts.name(account)}</span>${kind ? html`<span class="hidden">, ${KINDS[kind]}</span>` : nothing}${end
      ? html`<small> ${until(end)}</small>`
      : nothing}</span>`;
}
