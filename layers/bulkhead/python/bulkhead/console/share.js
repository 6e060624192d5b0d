// Changes who sees a record: add and remove accounts, give them an end, seal; see first what would happen; run, and follow the run.

import { html, nothing } from "./lit.js";
import { View, fault } from "./view.js";
import { idempotencyKey } from "./api.js";
import { chip } from "./accounts.js";
import { accountsOf, isFenced, maySetAccounts } from "./session.js";
import { endOf, kindOf, read } from "./explanations.js";
import { count, listed, moment, named, personName, until, value, valueOf } from "./fhir.js";
import { standing } from "./jobs.js";

const PAUSE = 400;
const COMPARTMENTS = ["Patient", "Encounter", "Practitioner", "RelatedPerson", "Device"];
const OTHER = "other";

/** The end of the next Friday, and of the day in 30 days, in the reader's zone. */
export function ends(now = new Date()) {
  const friday = new Date(now);
  friday.setDate(now.getDate() + (((5 - now.getDay() + 7) % 7) || 7));
  const month = new Date(now);
  month.setDate(now.getDate() + 30);
  for (const each of [friday, month]) each.setHours(23, 59, 0, 0);
  return { friday, month };
}

/** Properties: `target` (a key), `accounts`, `nameOf`. Events `close`, `changed` after a run. */
export class ShareForm extends View {
  static properties = {
    ...View.properties,
    target: { attribute: false },
    accounts: { attribute: false },
    nameOf: { attribute: false },
    version: { attribute: false },
    own: { state: true },
    before: { state: true },
    inherited: { state: true },
    organisations: { state: true },
    sealed: { state: true },
    wasSealed: { state: true },
    propagate: { state: true },
    preview: { state: true },
    stale: { state: true },
    status: { state: true },
    result: { state: true },
  };

  willUpdate(changed) {
    if (changed.has("target")) this.load();
  }

  get isCompartment() {
    return COMPARTMENTS.includes(this.target.split("/")[0]);
  }

  /** The accounts that the token may set; null for every one. */
  get settable() {
    return accountsOf(this.api.session.claims);
  }

  load() {
    // What was asked before must not answer for the form as it is then.
    clearTimeout(this.timer);
    this.asked = undefined;
    this.stale = false;
    this.preview = this.status = this.result = undefined;
    this.own = undefined;
    this.propagate = this.isCompartment;
    return this.attempt(async () => {
      const { target } = this;
      // Before the accounts: a change between the two is noticed then.
      const etag = await this.etagOf(target);
      const [{ body }, organisations] = await Promise.all([this.ask("GET", `${target}/$explain-access`), this.organisationsOf()]);
      if (target !== this.target) return;
      this.guard = etag ? { "If-Match": etag } : {};
      const found = read(body);
      const ownSource = (given) => given.sources.find((source) => source.kind === "own");
      this.own = found.accounts.filter(ownSource).map((given) => ({ account: given.account, until: ownSource(given).until ?? "" }));
      this.inherited = found.accounts.filter((given) => kindOf(given) !== "own")
        .map(({ account, sources }) => ({ account, kind: "inherited", until: endOf(sources.filter((source) => source.kind !== "own")) }));
      this.before = this.own.map((each) => ({ ...each }));
      this.sealed = this.wasSealed = found.sealed;
      this.organisations = organisations;
    });
  }

  /** The version that the form is about: whoever shares must not undo what somebody else shared meanwhile. None where the token may set accounts but not read. */
  async etagOf(target) {
    try {
      return (await this.ask("GET", target)).headers.get("etag");
    } catch (error) {
      if (error.status === 403 || error.status === 404) return null;
      throw error;
    }
  }

  async organisationsOf() {
    const { body } = await this.ask("GET", "Organization?_elements=name&_sort=name&_count=200").catch(() => ({ body: {} }));
    for (const { resource } of body.entry ?? []) this.accounts.know(`Organization/${resource.id}`, personName(resource));
    return (body.entry ?? []).filter(({ resource }) => resource.resourceType === "Organization").map(({ resource }) => `Organization/${resource.id}`);
  }

  // The form

  get isChanged() {
    const text = (list) => JSON.stringify(list.map(({ account, until: end }) => [account, end]));
    return this.own && (text(this.own) !== text(this.before) || this.sealed !== this.wasSealed);
  }

  change(own) {
    this.own = own;
    this.edited();
  }

  edited() {
    this.result = undefined;
    this.stale = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), PAUSE);
  }

  add(event) {
    const account = event.target.value;
    if (account === OTHER) {
      const given = this.querySelector("#share-other");
      given?.closest("label").classList.remove("hidden");
      given?.focus();
      return;
    }
    if (account) this.change([...this.own, { account, until: "" }]);
    event.target.value = "";
  }

  addOther(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    const account = event.target.value.trim();
    if (account && !this.own.some((each) => each.account === account)) this.change([...this.own, { account, until: "" }]);
    event.target.value = "";
  }

  end(number, chosen) {
    const { friday, month } = ends();
    const later = { none: "", friday: friday.toISOString(), month: month.toISOString() };
    const given = chosen in later ? later[chosen] : chosen === "choose" ? this.own[number].until || friday.toISOString() : new Date(chosen).toISOString();
    this.change(this.own.map((each, place) => (place === number ? { ...each, until: given, chosen: chosen === "choose" || !(chosen in later) } : each)));
  }

  parameters(preview) {
    const parameter = this.own
      .filter(({ account }) => this.settable === null || this.settable.includes(account))
      .map(({ account, until: end }) => {
        const valueReference = { reference: account };
        if (!end) return { name: "accounts", valueReference };
        return { name: "accounts", part: [{ name: "account", valueReference }, { name: "until", valueInstant: end }] };
      });
    if (this.propagate) parameter.push({ name: "propagate", valueBoolean: true });
    if (this.sealed !== this.wasSealed) parameter.push({ name: "inherit", valueBoolean: !this.sealed });
    if (preview) parameter.push({ name: "preview", valueBoolean: true });
    return { resourceType: "Parameters", parameter };
  }

  async look() {
    const asked = (this.asked = {});
    await this.attempt(async () => {
      const { body } = await this.ask("POST", `${this.target}/$set-accounts`, { body: this.parameters(true), headers: this.guard, repeatable: true });
      if (asked !== this.asked) return;
      this.preview = body;
      this.stale = false;
    });
    if (this.error && asked === this.asked) [this.preview, this.stale] = [undefined, false];
  }

  run() {
    return this.attempt(async () => {
      const headers = { ...this.guard, ...(this.propagate ? { Prefer: "respond-async", "Idempotency-Key": idempotencyKey() } : {}) };
      // Sent twice, it is one job by its key; without a key the second is refused, for the first made a new version.
      const answer = await this.ask("POST", `${this.target}/$set-accounts`, { body: this.parameters(false), headers, repeatable: true });
      if (answer.status === 202) this.status = this.api.path(answer.headers.get("content-location"));
      else this.finished({ done: true, text: standing(valueOf(answer.body, "resourcesUpdated") ?? 0) });
    });
  }

  finished(result) {
    this.result = result;
    this.status = undefined;
    this.preview = undefined;
    this.dispatchEvent(new CustomEvent("changed"));
    this.load().then(() => (this.result = result));
  }

  // What it looks like

  render() {
    const may = maySetAccounts(this.api.session.claims);
    return html`<section class="panel share" aria-labelledby="share-title">
      <header class="panel-head">
        <div><h2 id="share-title" tabindex="-1">Who sees ${this.nameOf(this.target)}</h2>
          <p>${this.isCompartment ? "These accounts reach everything in the compartment." : "These are the record’s own accounts."} Nothing happens before you press Share.</p></div>
        <button class="quiet" @click=${() => this.dispatchEvent(new CustomEvent("close"))}>Close</button>
      </header>
      ${may ? nothing : html`<p class="note">Your token has no scope <code>accounts.write</code>, so the server will refuse a change.</p>`}
      ${this.own ? this.form() : this.error ? nothing : html`<p aria-busy="true">Loading…</p>`}
      ${fault(this.error)}
      ${this.error?.status === 412 ? html`<p class="note">It has changed since this form was opened. <button type="button" class="quiet" @click=${this.load}>Read it again</button></p>` : nothing}
      ${this.own ? html`<div aria-live="polite">${this.outcome()}</div>` : nothing}
      ${this.status ? html`<job-progress .api=${this.api} .status=${this.status} @finished=${(event) => this.finished(event.detail)}></job-progress>` : nothing}
      ${this.raw()}
    </section>`;
  }

  form() {
    const free = this.organisations.filter((account) => !this.own.some((each) => each.account === account) && (this.settable === null || this.settable.includes(account)));
    return html`<form @submit=${(event) => event.preventDefault()}>
      <fieldset ?disabled=${Boolean(this.status)}>
        <legend>Organisations that see it</legend>
        ${this.own.length ? html`<ul class="grants">${this.own.map((each, number) => this.grant(each, number))}</ul>` : html`<p class="note">None of its own.</p>`}
        ${this.inherited.length ? html`<p class="also">Inherited, and not changed here: ${this.inherited.map((given) => chip(this.accounts, given))}</p>` : nothing}
        <label for="share-add">Add an organisation</label>
        <select id="share-add" @change=${this.add}>
          <option value="">Choose…</option>
          ${free.map((account) => html`<option value=${account}>${this.accounts.name(account)}</option>`)}
          <option value=${OTHER}>Another account…</option>
        </select>
        <label class="hidden">Another account, such as Practitioner/b, then Enter
          <input id="share-other" pattern="[A-Za-z]+/[A-Za-z0-9.\\-]+" @keydown=${this.addOther}></label>
        <label class="check"><input type="checkbox" .checked=${this.propagate} @change=${(event) => { this.propagate = event.target.checked; this.edited(); }}>
          Hand them on to everything in its compartment</label>
        <label class="check"><input type="checkbox" .checked=${this.sealed} @change=${(event) => { this.sealed = event.target.checked; this.edited(); }}>
          Seal it: it inherits nothing, and keeps its own accounts only</label>
      </fieldset>
      <p class="actions">
        <button type="button" ?disabled=${this.stale || !this.preview || Boolean(this.status) || this.busy} @click=${this.run}>Share</button>
        <button type="button" class="secondary" ?disabled=${!this.isChanged || Boolean(this.status)} @click=${this.load}>Undo</button>
        ${this.preview || this.stale ? nothing : html`<button type="button" class="secondary" ?disabled=${Boolean(this.status)} @click=${this.look}>Check what stands</button>`}
      </p>
    </form>`;
  }

  grant({ account, until: end, chosen }, number) {
    const locked = this.settable !== null && !this.settable.includes(account);
    const { friday, month } = ends();
    const which = chosen ? "choose" : end === "" ? "none" : end === friday.toISOString() ? "friday" : end === month.toISOString() ? "month" : "choose";
    const name = this.accounts.name(account);
    return html`<li>
      ${chip(this.accounts, { account, kind: "own" })}
      ${locked ? html`<small>${end ? until(end) : "without end"}; your token may not change it</small>` : html`
        <select aria-label="End of ${name}" @change=${(event) => this.end(number, event.target.value)}>
          <option value="none" .selected=${which === "none"}>without end</option>
          <option value="friday" .selected=${which === "friday"}>${until(friday.toISOString())}</option>
          <option value="month" .selected=${which === "month"}>for 30 days, until ${moment(month.toISOString())}</option>
          <option value="choose" .selected=${which === "choose"}>until…</option>
        </select>
        <button type="button" class="quiet" aria-label="Remove ${name}" @click=${() => this.change(this.own.filter((_, place) => place !== number))}>Remove</button>
        ${which === "choose" ? html`<input type="datetime-local" aria-label="End of ${name}, in your time zone" .value=${local(end)} @change=${(event) => event.target.value && this.end(number, event.target.value)}>` : nothing}`}
    </li>`;
  }

  outcome() {
    if (this.result) return html`<div class="verdict ${this.result.done ? "good" : "bad"}" role="status"><strong>${this.result.done ? "Done." : "Not all was done."}</strong> ${this.result.text}</div>`;
    if (this.status) return nothing;
    if (this.stale) return html`<div class="forecast" aria-busy="true">Looking at what would happen…</div>`;
    if (!this.preview) return html`<div class="forecast"><p class="note">Change something, and this place says who would gain and lose what.</p></div>`;
    const told = named(this.preview, "account").flatMap((part) => [this.told(part, "gains"), this.told(part, "loses")]);
    const changed = named(this.preview, "changed").map(value);
    const endings = this.endings();
    const sealing = this.sealed === this.wasSealed ? nothing : html`<li>${this.sealed ? "It will inherit nothing any more." : "It will inherit again."}</li>`;
    const isComplete = valueOf(this.preview, "complete") !== false;
    const nothingGained = !told.some((each) => each !== nothing) && !endings.length && sealing === nothing;
    // The server counts what the token sees, and the run may change more.
    const fenced = isFenced(this.api.session.claims);
    const unchanged = !isComplete ? "Of the records that were looked at, nobody gains or loses one."
      : fenced ? "Nobody gains or loses a record that you see." : changed.length ? "Nobody gains or loses a record." : "Nothing: it stands as asked already.";
    return html`<div class="forecast" role="status">
      <h3>What would happen${fenced ? " to what you see" : ""}</h3>
      <ul>${told}${endings}${sealing}${nothingGained ? html`<li>${unchanged}</li>` : nothing}</ul>
      <p><small>${count(valueOf(this.preview, "resourcesUpdated") ?? 0, "record")} would stand as asked${isComplete ? "" : ". The preview looked at the first ones only; the run reaches all"}.</small></p>
      ${changed.length ? html`<details><summary>Records that would change${changed.length > 99 ? ", the first hundred" : ` (${changed.length})`}</summary><p class="keys">${changed.map((key) => html`<code>${key}</code> `)}</p></details>` : nothing}
    </div>`;
  }

  told(part, name) {
    const parts = named(part, name);
    if (!parts.length) return nothing;
    const account = valueOf(part, "account");
    const types = parts.map((each) => [valueOf(each, "type"), valueOf(each, "count")]);
    const total = types.reduce((sum, [, number]) => sum + number, 0);
    const end = this.own.find((each) => each.account === account)?.until;
    const verb = name === "gains" ? html`<b class="yes">gains</b>` : html`<b class="no">loses</b>`;
    return html`<li>${chip(this.accounts, { account, kind: "own" })} ${verb} ${valueOf(this.preview, "complete") === false ? "at least " : ""}${count(total, "record")}${name === "gains" && end ? html` <b>${until(end)}</b>` : nothing}:
      ${listed(types.map(([type, number]) => `${number.toLocaleString()} ${type}`))}.</li>`;
  }

  endings() {
    return this.own.flatMap(({ account, until: end }) => {
      const former = this.before.find((each) => each.account === account);
      if (!former || former.until === end) return [];
      return [html`<li>${chip(this.accounts, { account, kind: "own" })} keeps it <b>${end ? until(end) : "without end"}</b>, instead of ${former.until ? until(former.until) : "without end"}.</li>`];
    });
  }
}
customElements.define("share-form", ShareForm);

/** An instant as the value of a datetime-local field. */
function local(instant) {
  const time = instant ? new Date(instant) : new Date();
  return new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
