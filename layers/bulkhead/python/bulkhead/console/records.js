// A patient's compartment: who sees how much of it, its records on a timeline and in a list, and beside them why, or a share.

import { html, nothing } from "./lit.js";
import { EXTENDED } from "./api.js";
import { View, fault } from "./view.js";
import { carried, chip } from "./accounts.js";
import { isFenced, maySetAccounts } from "./session.js";
import { Explanations, queryOf } from "./explanations.js";
import { ELEMENTS, count, day, grouped, keyOf, measured, nextOf, personName, title, when } from "./fhir.js";
import "./rows.js";
import "./timeline.js";
import "./why.js";
import "./share.js";

const PAGE = 200;
// Up to here every record is asked about; beyond, only those that come into view.
const EXPLAINED = 1000;
const MOST_COLUMNS = 6;
const AUDIT = "AuditEvent";
const ONE_COLUMN = matchMedia("(max-width: 999px)");

/** Properties: `patient` (id), `selected` (a key or ""), `sharing` (a key or ""), `asking` ({label, claims}). Event `go` (detail: path of the page). */
export class RecordsPage extends View {
  static properties = {
    ...View.properties,
    patient: { attribute: false },
    selected: { attribute: false },
    sharing: { attribute: false },
    asking: { attribute: false },
    accounts: { attribute: false },
    person: { state: true },
    rows: { state: true },
    loading: { state: true },
    expected: { state: true },
    loaded: { state: true },
    type: { state: true },
    only: { state: true },
    version: { state: true },
    round: { state: true },
  };

  constructor() {
    super();
    this.rows = [];
    this.type = "";
    this.only = "";
    this.version = this.round = 0;
    this.named = (key) => this.nameOf(key);
  }

  connectedCallback() {
    super.connectedCallback();
    this.changed = () => (this.version += 1);
    this.accounts.addEventListener("change", this.changed);
    this.explanations = new Explanations(this.api);
    this.explanations.addEventListener("change", this.changed);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.accounts.removeEventListener("change", this.changed);
  }

  willUpdate(changed) {
    if (changed.has("patient")) {
      this.person = undefined;
      this.rows = [];
      this.type = this.only = "";
      this.load();
    } else if (changed.has("asking")) this.explain();
  }

  async updated(changed) {
    // The place where the reader goes on: what was opened, or the list again.
    const former = [changed.get("selected"), changed.get("sharing")];
    if (former.every((key) => key === undefined)) return;
    // What was opened renders after this.
    await this.querySelector(".beside")?.firstElementChild?.updateComplete;
    const next = this.querySelector(this.selected || this.sharing ? ".beside h2" : ".rows");
    next?.focus({ preventScroll: true });
    if (!ONE_COLUMN.matches) return;
    next?.scrollIntoView({ block: "center" });
  }

  // Loading

  async load() {
    const { patient } = this;
    const round = (this.loads = (this.loads ?? 0) + 1);
    const fresh = [];
    // After a share the former page stays until all of the new one is there: half of it would be wrong.
    const isReload = this.rows.length > 0;
    this.loading = true;
    this.loaded = 0;
    await this.attempt(async () => {
      const { body } = await this.ask("GET", `Patient/${patient}`, { headers: EXTENDED });
      if (round !== this.loads) return;
      if (!isReload) this.person = body;
      this.accounts.know(`Patient/${patient}`, personName(body));
      let path = `Patient/${patient}/*?_elements=${ELEMENTS}&_count=${PAGE}`;
      while (path) {
        const page = await this.ask("GET", path, { headers: EXTENDED });
        if (round !== this.loads) return;
        this.expected = page.body.total;
        fresh.push(...(page.body.entry ?? []).map(({ resource }) => resource).filter(({ resourceType }) => resourceType !== AUDIT && resourceType !== "OperationOutcome").map(rowOf));
        if (!isReload) this.rows = [...fresh];
        this.loaded = fresh.length;
        const next = nextOf(page.body);
        path = next && this.api.path(next);
      }
      this.person = body;
      this.rows = fresh.sort((one, other) => (other.when ?? "").localeCompare(one.when ?? ""));
      this.explain();
    });
    if (round === this.loads) this.loading = false;
  }

  explain() {
    if (!this.api.session.explains) return;
    this.explanations.start(queryOf(this.asking.claims));
    this.explanations.want([`Patient/${this.patient}`, ...this.rows.slice(0, EXPLAINED).map((row) => row.key)]);
  }

  reload() {
    this.round += 1;
    this.load();
  }

  /** The name of a resource, for people: a record's title, a patient's or an organisation's name. */
  nameOf(key) {
    const row = this.rows.find((each) => each.key === key);
    if (row) return row.title;
    if (key === `Patient/${this.patient}` && this.person) return personName(this.person) ?? key;
    return /^(Organization|Practitioner|Patient|PractitionerRole)\//.test(key) ? this.accounts.name(key) : key;
  }

  // What is shown

  get shared() {
    return this.person ? carried(this.person).map((each) => each.account) : [];
  }

  get isOther() {
    return this.asking.label !== "You";
  }

  verdict(key) {
    return this.explanations.get(key)?.decisions.read?.allowed;
  }

  get shown() {
    const { shared } = this;
    return this.rows.filter((row) => {
      if (this.type && row.type !== this.type) return false;
      if (this.only === "unshared") return isUnshared(row, shared);
      if (this.only === "hidden") return this.verdict(row.key) === false;
      return true;
    });
  }

  render() {
    const beside = this.sharing || this.selected;
    return html`<main class="page records ${beside ? "two" : ""}" id="main" tabindex="-1">
      <div class="about">
        ${this.header()} ${fault(this.error)}
        ${this.person ? html`${this.answer()} ${this.matrix()}` : nothing}
      </div>
      <div class="members">
        ${this.rows.length || !this.loading ? html`${this.person ? this.list() : nothing} ${this.raw()}` : nothing}
      </div>
      <div class="beside">${beside ? (this.sharing ? this.share() : this.why()) : this.hint()}</div>
    </main>`;
  }

  header() {
    const { person } = this;
    if (!person) return html`<header class="person"><div><h1>${this.error ? `Patient/${this.patient}` : html`<span aria-busy="true">Loading…</span>`}</h1></div></header>`;
    const found = this.explanations.get(keyOf(person));
    const kinds = new Map((found?.accounts ?? []).map((given) => [given.account, given.sources.some((source) => source.kind === "own") ? "own" : "inherited"]));
    return html`<header class="person">
      <div><h1>${personName(person) ?? person.id}</h1>
        <p>${[person.birthDate ? `born ${day(person.birthDate)}` : "", person.gender, person.identifier?.[0]?.value].filter(Boolean).join(" · ")} <code>Patient/${person.id}</code></p>
        <p class="row-chips">${carried(person).length ? html`Shared with ${carried(person).map((each) => chip(this.accounts, { ...each, kind: kinds.get(each.account) ?? "" }))}` : html`<span class="mark nobody">No account: only who has no fence sees it</span>`}</p></div>
      <p class="actions">${maySetAccounts(this.api.session.claims) ? html`<button @click=${() => this.go(`share/Patient/${person.id}`)}>Share…</button>` : nothing}
        <button class="secondary" @click=${() => this.go(`why/Patient/${person.id}`)}>Why?</button></p>
    </header>`;
  }

  /** In one sentence: how much of it whoever is asked about sees. */
  answer() {
    if (!this.isOther) return nothing;
    const keys = [`Patient/${this.patient}`, ...this.rows.map((row) => row.key)];
    const known = keys.map((key) => this.verdict(key)).filter((verdict) => verdict !== undefined);
    const seen = known.filter(Boolean).length;
    const hidden = known.length - seen;
    const all = known.length === keys.length;
    return html`<div class="verdict ${seen ? (hidden ? "some" : "good") : "bad"}" role="status">
      <strong>${this.asking.label} sees ${seen.toLocaleString()} of ${(all ? keys.length : known.length).toLocaleString()} records${isFenced(this.api.session.claims) ? " that you see" : ""}</strong>${all
        ? ", the patient’s own included."
        : ` that were asked about so far; there are ${keys.length.toLocaleString()}.`}
      ${hidden ? html`<button class="quiet" aria-pressed=${this.only === "hidden"} @click=${() => (this.only = this.only === "hidden" ? "" : "hidden")}>${this.only === "hidden" ? "Show all" : `Show the ${hidden.toLocaleString()} hidden`}</button>` : nothing}
      ${this.explanations.error ? fault(this.explanations.error) : nothing}
    </div>`;
  }

  /** By type, how many records carry each account. */
  matrix() {
    const { shared } = this;
    const all = [...new Set([...shared, ...this.rows.flatMap((row) => row.accounts.map((each) => each.account))])];
    const columns = all.slice(0, MOST_COLUMNS);
    const sorted = [...grouped(this.rows, (row) => row.type)].sort(([one], [other]) => one.localeCompare(other));
    const has = (row, account) => row.accounts.some((each) => each.account === account);
    const cell = (members, account) => {
      const number = members.filter((row) => has(row, account)).length;
      const look = number === 0 ? "none" : number < members.length ? "part" : "full";
      return html`<td class="cell ${look}"><span class="bar hue-${this.accounts.hue(account)}"><i .style=${`width: ${(100 * number) / members.length}%`}></i></span>
        ${number === members.length ? html`all ${number.toLocaleString()}` : `${number.toLocaleString()} of ${members.length.toLocaleString()}`}</td>`;
    };
    if (!this.rows.length) return this.loading ? html`<p class="matrix-wait" aria-busy="true">Loading…</p>` : html`<p class="note">The compartment holds nothing that you may see.</p>`;
    const unshared = this.rows.filter((row) => isUnshared(row, shared)).length;
    return html`<section class="panel matrix" aria-labelledby="matrix-title">
      <h2 id="matrix-title">Who sees how much ${isFenced(this.api.session.claims) ? html`<span>of what you see</span>` : nothing}</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Records by type and account"><table>
        <thead><tr><th scope="col">Type</th>${columns.map((account) => html`<th scope="col">${chip(this.accounts, { account })}</th>`)}</tr></thead>
        <tbody>${sorted.map(([type, members]) => html`<tr class=${this.type === type ? "chosen" : ""}>
          <th scope="row"><button class="quiet" aria-pressed=${this.type === type} @click=${() => (this.type = this.type === type ? "" : type)}>${type}</button> <small>${members.length.toLocaleString()}</small></th>
          ${columns.map((account) => cell(members, account))}</tr>`)}</tbody>
      </table></div>
      ${all.length > columns.length ? html`<p><small>and ${all.length - columns.length} more accounts</small></p>` : nothing}
      ${unshared ? html`<p class="unshared">${count(unshared, "record")} ${shared.length ? `${unshared === 1 ? "is" : "are"} not with everybody who has the patient` : `${unshared === 1 ? "carries" : "carry"} no account`}.
        <button class="quiet" aria-pressed=${this.only === "unshared"} @click=${() => (this.only = this.only === "unshared" ? "" : "unshared")}>${this.only === "unshared" ? "Show all" : "Show them"}</button></p>` : nothing}
    </section>`;
  }

  list() {
    const { shown } = this;
    const outside = new Set(this.isOther ? shown.filter((row) => this.verdict(row.key) === false).map((row) => row.key) : shown.filter((row) => isUnshared(row, this.shared)).map((row) => row.key));
    const filtered = this.type || this.only;
    return html`<section class="panel list" aria-labelledby="list-title">
      <header class="list-head"><h2 id="list-title">${filtered ? `${count(shown.length, "record")} of ${this.rows.length.toLocaleString()}` : count(this.rows.length, "record")}</h2>
        ${filtered ? html`<button class="quiet" @click=${() => { this.type = this.only = ""; }}>Show all</button>` : nothing}
        ${this.api.session.explains ? html`<p class="legend" aria-hidden="true"><span class="chip own hue-legend">own</span> <span class="chip inherited hue-legend">inherited</span></p>` : nothing}</header>
      <div class="load" role="status">${this.loading ? html`<progress aria-label="Loading records" max=${this.expected ?? 1} value=${this.expected ? this.loaded : nothing}></progress> ${count(this.loaded, "record")} so far` : nothing}</div>
      <record-timeline .rows=${shown} .selected=${this.selected} .outside=${outside} @open=${(event) => this.go(`why/${event.detail}`)}></record-timeline>
      <record-rows .rows=${shown} .accounts=${this.accounts} .explanations=${this.explanations} .selected=${this.selected} .shared=${this.shared} .verdicts=${this.isOther} .version=${this.version}
        @seen=${(event) => this.seen(event.detail)} @open=${(event) => this.go(`why/${event.detail}`)}></record-rows>
      ${this.explanations.calls.length ? html`<raw-calls .calls=${this.explanations.calls} .token=${Boolean(this.api.session.token)}></raw-calls>` : nothing}
    </section>`;
  }

  seen(keys) {
    if (this.api.session.explains && !this.loading) this.explanations.want(keys, true);
  }

  hint() {
    return html`<div class="panel hint"><p><b>Choose a record</b> to see who sees it and why.</p>${this.api.session.explains ? html`<p>Choose somebody in “View as” to look through their eyes.</p>` : nothing}
      ${maySetAccounts(this.api.session.claims) ? html`<p>Press “Share…” to see what a share would do, before it happens.</p>` : nothing}</div>`;
  }

  why() {
    return html`<record-why .api=${this.api} .record=${this.selected} .asking=${this.asking} .accounts=${this.accounts} .nameOf=${this.named} .version=${this.version} .round=${this.round}
      @close=${() => this.go("")} @share=${() => this.go(`share/${this.selected}`)}></record-why>`;
  }

  share() {
    return html`<share-form .api=${this.api} .target=${this.sharing} .accounts=${this.accounts} .nameOf=${this.named} .version=${this.version}
      @close=${() => this.go(this.sharing.startsWith("Patient/") ? "" : `why/${this.sharing}`)} @changed=${() => this.reload()}></share-form>`;
  }

  go(place) {
    this.dispatchEvent(new CustomEvent("go", { detail: place }));
  }
}
customElements.define("records-page", RecordsPage);

const isUnshared = (row, shared) => !row.accounts.length || shared.some((account) => !row.accounts.some((each) => each.account === account));

function rowOf(resource) {
  return { key: keyOf(resource), type: resource.resourceType, title: title(resource), measured: measured(resource), when: when(resource), accounts: carried(resource) };
}
