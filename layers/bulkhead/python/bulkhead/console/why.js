// Why somebody sees a record, or does not: the chain, the verdict in words, and below it versions and the audit trail.

import { html, nothing } from "./lit.js";
import { EXTENDED } from "./api.js";
import { View, fault } from "./view.js";
import { queryOf, read } from "./explanations.js";
import { isFenced, maySetAccounts } from "./session.js";
import { day, keyOf, measured, title, when } from "./fhir.js";
import "./chain.js";
import "./versions.js";
import "./audit.js";

/** Properties: `key` (the record), `asking` (who is looked as: label and claims), `accounts`, `patientName`. Events `close`, `share`. */
export class RecordWhy extends View {
  static properties = {
    ...View.properties,
    record: { attribute: false },
    asking: { attribute: false },
    accounts: { attribute: false },
    nameOf: { attribute: false },
    version: { attribute: false },
    round: { attribute: false },
    resource: { state: true },
    found: { state: true },
  };

  willUpdate(changed) {
    if (changed.has("record") || changed.has("asking") || changed.has("round")) {
      if (changed.has("record")) this.resource = undefined;
      // Nobody's verdict may stand under another's name, not even until the answer comes.
      this.found = undefined;
      this.load();
    }
  }

  async load() {
    const { record, asking } = this;
    await this.attempt(async () => {
      const [resource, found] = await Promise.all([this.ask("GET", record, { headers: EXTENDED }), this.explain(record, asking)]);
      if (record !== this.record || asking !== this.asking) return;
      this.resource = resource.body;
      this.found = found;
    });
  }

  async explain(record, asking) {
    if (!this.api.session.explains) return null;
    const query = queryOf(asking.claims);
    const { body } = await this.ask("GET", `${record}/$explain-access${query ? `?${query}` : ""}`);
    return read(body);
  }

  render() {
    const { resource, found } = this;
    return html`<section class="panel why" aria-labelledby="why-title">
      <header class="panel-head">
        <div>
          <h2 id="why-title" tabindex="-1">${resource ? title(resource) : this.record} ${resource && measured(resource) ? html`<span>${measured(resource)}</span>` : nothing}</h2>
          <p>${resource ? html`${resource.resourceType} · ${day(when(resource))} · <code>${keyOf(resource)}</code>` : "Loading…"}</p>
        </div>
        <button class="quiet" @click=${() => this.send("close")}>Close</button>
      </header>
      ${fault(this.error)}
      ${found ? html`${this.verdict(found)}
          <access-chain .found=${found} .claims=${this.asking.claims} .accounts=${this.accounts} .nameOf=${this.nameOf} .version=${this.version}></access-chain>
          ${maySetAccounts(this.api.session.claims) ? html`<p class="actions"><button class="secondary" @click=${() => this.send("share")}>Change who sees this record…</button></p>` : nothing}`
        : found === null ? html`<p class="note">The server explains access to tokens that read without a fence, and to those with <code>accounts.write</code>. Yours is neither, so the page shows what it may read.</p>`
        : html`<div class="chain-wait" aria-busy="true"></div>`}
      ${this.raw()}
      ${resource ? html`
        <record-versions .api=${this.api} .record=${this.record} .round=${this.round}></record-versions>
        <audit-trail .api=${this.api} .record=${this.record} .round=${this.round}></audit-trail>
        <details class="raw"><summary>The resource as JSON</summary><pre tabindex="0" aria-label="Resource as JSON"><code>${JSON.stringify(resource, null, 2)}</code></pre></details>` : nothing}
    </section>`;
  }

  verdict(found) {
    const decision = found.decisions.read;
    if (!decision) return nothing;
    const who = this.asking.label;
    const patient = found.compartments.find(({ target }) => target.startsWith("Patient/") && target !== found.key);
    const sentences = [];
    if (!decision.allowed && patient && (found.sealed || found.private)) {
      const reason = found.sealed ? "It is sealed" : "A label makes it private";
      sentences.push(`${reason}, so it inherits nothing from ${this.nameOf(patient.target)}: it keeps its own accounts only.`);
    }
    const words = decision.allowed === undefined ? "may see it or not: that depends on a record hidden from you" : decision.allowed ? "sees this record" : "does not see this record";
    return html`<div class="verdict ${decision.allowed ? "good" : "bad"}" role="status">
      <strong>${who === "You" ? (decision.allowed ? "You see this record" : "You do not see this record") : `${who} ${words}`}.</strong>
      ${sentences.map((text) => html` ${text}`)} ${decision.reason} <code>${decision.rule}</code>
      ${this.asking.label === "You" && !isFenced(this.asking.claims) ? html`<br><small>Choose “View as” above to ask for somebody else.</small>` : nothing}
    </div>`;
  }

  send(name) {
    this.dispatchEvent(new CustomEvent(name));
  }
}
customElements.define("record-why", RecordWhy);
