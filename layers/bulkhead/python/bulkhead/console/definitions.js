// Custom compartments: the CompartmentDefinitions in force, and a form for one that the server checks as one types.

import { html, nothing } from "./lit.js";
import { View, fault } from "./view.js";
import { count, listed } from "./fhir.js";

const PAUSE = 350;
const EMPTY = { id: "", code: "", members: [{ type: "", params: "" }] };

/** A CompartmentDefinition from the fields of the form. */
export function definition(form, base) {
  const words = (text) => text.split(/[\s,]+/).filter(Boolean);
  return {
    resourceType: "CompartmentDefinition",
    id: form.id || undefined,
    url: `${base}CompartmentDefinition/${form.id || "new"}`,
    name: (form.id || "new").replace(/[^A-Za-z0-9]+/g, "_"),
    status: "active",
    code: form.code,
    search: true,
    resource: form.members.filter(({ type }) => type).map(({ type, params }) => ({ code: type, ...(words(params).length ? { param: words(params) } : {}) })),
  };
}

class DefinitionsPage extends View {
  static properties = { ...View.properties, definitions: { state: true }, types: { state: true }, form: { state: true }, issues: { state: true }, checked: { state: true }, saved: { state: true } };

  constructor() {
    super();
    this.form = structuredClone(EMPTY);
    this.types = new Map();
  }

  connectedCallback() {
    super.connectedCallback();
    this.load();
  }

  async load() {
    await this.attempt(async () => {
      const [{ body }, { body: statement }] = await Promise.all([this.ask("GET", "CompartmentDefinition?_count=200"), this.ask("GET", "metadata")]);
      this.definitions = (body.entry ?? []).map((entry) => entry.resource).filter((each) => each.resourceType === "CompartmentDefinition").sort((one, other) => one.code.localeCompare(other.code));
      this.types = new Map((statement.rest?.[0]?.resource ?? []).map((each) => [
        each.type, (each.searchParam ?? []).filter((parameter) => parameter.type === "reference" && !parameter.name.startsWith("_")).map((parameter) => parameter.name)]));
    });
  }

  set(change) {
    this.form = { ...this.form, ...change };
    this.checked = this.saved = undefined;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.check(), PAUSE);
  }

  member(number, change) {
    const members = this.form.members.map((each, place) => (place === number ? { ...each, ...change } : each));
    if (members.at(-1).type) members.push({ type: "", params: "" });
    this.set({ members });
  }

  async check() {
    const asked = (this.asked = {});
    if (!this.form.code) return;
    const sent = { ...definition(this.form, this.api.base), id: undefined };
    await this.attempt(async () => {
      const { body } = await this.ask("POST", "CompartmentDefinition/$validate", { body: sent, repeatable: true });
      if (asked !== this.asked) return;
      this.issues = (body.issue ?? []).filter((issue) => ["error", "fatal"].includes(issue.severity));
      this.checked = true;
    });
  }

  save(event) {
    event.preventDefault();
    return this.attempt(async () => {
      const made = definition(this.form, this.api.base);
      await this.ask("PUT", `CompartmentDefinition/${made.id}`, { body: made });
      this.saved = made;
      this.form = structuredClone(EMPTY);
      this.checked = undefined;
      await this.load();
    });
  }

  render() {
    return html`<main class="page" id="main" tabindex="-1">
      <header class="panel-head"><div><h1>Compartments</h1>
        <p>A compartment is everything that points at one resource. Any type can have one: a new definition works at once, for what was there before, too.</p></div></header>
      ${fault(this.error)}
      <div class="columns">
        <section aria-labelledby="in-force"><h2 id="in-force">In force</h2>
          ${this.definitions === undefined && !this.error ? html`<p aria-busy="true">Loading…</p>` : nothing}
          ${(this.definitions ?? []).map((each) => this.shown(each))}</section>
        ${this.edited()}
      </div>
      ${this.raw()}
    </main>`;
  }

  shown(each) {
    const members = (each.resource ?? []).filter((member) => member.param?.length);
    const isOwn = !each.url?.startsWith("http://hl7.org/fhir/");
    return html`<details class="panel definition"><summary><b>${each.code}</b> <span>${each.id}</span>
        <small>${count(members.length, "type")}${isOwn ? "" : ", of R4"}${each.search === false ? ", switched off" : ""}</small></summary>
      <dl class="members">${members.map((member) => html`<div><dt>${member.code}</dt><dd>${listed(member.param)}</dd></div>`)}</dl></details>`;
  }

  edited() {
    const { form } = this;
    const faults = (this.checked && this.issues) || [];
    const of = (place) => faults.filter((issue) => (issue.expression ?? []).some((path) => path.startsWith(place)));
    const told = (place) => of(place).map((issue) => html`<small class="no" role="alert">${issue.diagnostics}</small>`);
    const placed = new Set(["CompartmentDefinition.code", ...form.members.map((_, number) => `CompartmentDefinition.resource[${number}]`)].flatMap(of));
    const ready = this.checked && !faults.length && form.id;
    const replaces = (this.definitions ?? []).some((each) => each.id === form.id);
    return html`<section aria-labelledby="new-definition"><h2 id="new-definition">A new one</h2>
      <form class="panel" @submit=${this.save}>
        <label for="definition-id">Its id <input id="definition-id" required pattern="[A-Za-z0-9.\\-]{1,64}" autocomplete="off" .value=${form.id} @input=${(event) => this.set({ id: event.target.value })}></label>
        <label for="definition-code">The compartment of each
          <input id="definition-code" required list="types" autocomplete="off" placeholder="Organization" .value=${form.code} @input=${(event) => this.set({ code: event.target.value })}></label>
        ${told("CompartmentDefinition.code")}
        <fieldset><legend>Its members</legend>
          ${form.members.map((each, number) => html`<div class="member">
            <label>Type <input list="types" autocomplete="off" placeholder=${number ? "another type" : "Encounter"} .value=${each.type} @input=${(event) => this.member(number, { type: event.target.value })}></label>
            <label>that points there by <input list="params-${number}" autocomplete="off" placeholder=${number ? "" : "service-provider"} .value=${each.params} @input=${(event) => this.member(number, { params: event.target.value })}></label>
            <datalist id="params-${number}">${(this.types.get(each.type) ?? []).map((name) => html`<option value=${name}></option>`)}</datalist>
            ${told(`CompartmentDefinition.resource[${number}]`)}
          </div>`)}
        </fieldset>
        <datalist id="types">${[...this.types.keys()].map((type) => html`<option value=${type}></option>`)}</datalist>
        ${faults.filter((issue) => !placed.has(issue)).map((issue) => html`<small class="no" role="alert">${issue.diagnostics}</small>`)}
        <p class="actions"><button ?disabled=${!ready || this.busy}>${replaces ? `Replace ${form.id}` : "Put it in force"}</button>
          <span role="status">${this.saved ? `${this.saved.id} is in force.` : ready ? `The server accepts it.${replaces ? ` It takes the place of the ${form.id} that is in force.` : ""}` : ""}</span></p>
      </form></section>`;
  }
}
customElements.define("definitions-page", DefinitionsPage);
