// Finds a patient by name, identifier or id.

import { html, nothing } from "./lit.js";
import { View, fault } from "./view.js";
import { day, personName } from "./fhir.js";

const FIRST = 12;
const PAUSE = 250;

/** Event `open` (detail: id). */
export class PatientSearch extends View {
  static properties = { ...View.properties, compact: { attribute: false }, text: { state: true }, found: { state: true }, opened: { state: true } };

  constructor() {
    super();
    this.text = "";
  }

  connectedCallback() {
    super.connectedCallback();
    if (!this.compact) this.search("");
  }

  typed(event) {
    this.text = event.target.value;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.search(this.text.trim()), PAUSE);
  }

  async search(text) {
    this.searching?.abort();
    this.searching = new AbortController();
    const { signal } = this.searching;
    const shape = `_elements=name,birthDate,gender,identifier&_count=${FIRST}`;
    await this.attempt(async () => {
      const value = encodeURIComponent(text);
      const queries = text ? [`Patient?name=${value}&${shape}`, `Patient?identifier=${value}&${shape}`] : [`Patient?${shape}`];
      if (/^[A-Za-z0-9.-]{1,64}$/.test(text)) queries.push(`Patient?_id=${value}&${shape}`);
      const answers = await Promise.all(queries.map((query) => this.ask("GET", query, { signal })));
      const all = answers.flatMap(({ body }) => body.entry ?? []).map((entry) => entry.resource).filter((each) => each.resourceType === "Patient");
      this.found = [...new Map(all.map((patient) => [patient.id, patient])).values()];
      this.searched = text;
      this.opened = true;
    });
  }

  open(patient) {
    this.opened = false;
    this.text = "";
    this.dispatchEvent(new CustomEvent("open", { detail: patient.id }));
  }

  render() {
    const shown = this.found && (!this.compact || (this.opened && this.text));
    return html`<search class="patients ${this.compact ? "compact" : ""}" @keydown=${(event) => event.key === "Escape" && (this.opened = false)}>
      <label for="patient-text">Find a patient</label>
      <input id="patient-text" type="search" autocomplete="off" spellcheck="false" placeholder="Name, identifier or id" .value=${this.text} @input=${this.typed}>
      <span class="hidden" role="status">${this.found && this.text ? `${this.found.length} patients found` : ""}</span>
      ${fault(this.error)}
      ${shown ? html`<ul class="people">${this.found.map((patient) => html`<li><button @click=${() => this.open(patient)}>
            <b>${personName(patient) ?? patient.id}</b>
            <small>${[patient.birthDate ? `born ${day(patient.birthDate)}` : "", patient.gender, patient.identifier?.[0]?.value ?? patient.id].filter(Boolean).join(" · ")}</small>
          </button></li>`)}</ul>
          ${this.found.length ? nothing : html`<p class="note">${this.searched ? "No patient that you may see has this name, identifier or id." : "There is no patient that you may see."}</p>`}` : nothing}
      ${this.compact ? nothing : this.raw()}
    </search>`;
  }
}
customElements.define("patient-search", PatientSearch);
