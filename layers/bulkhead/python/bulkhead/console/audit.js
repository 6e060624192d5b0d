// The AuditEvents of a record: who looked, who changed it, who was refused.

import { html, nothing } from "./lit.js";
import { RecordPages, fault } from "./view.js";
import { moment } from "./fhir.js";

const PAGE = 20;
const WORDS = {
  read: "read it", vread: "read a version", create: "made it", update: "changed it", patch: "changed it", delete: "deleted it", search: "found it",
  "search-type": "found it", "history-instance": "read its history", operation: "called an operation", transaction: "changed it in a transaction",
  "set-accounts": "set its accounts", "$set-accounts": "set its accounts",
};

const TRIED = { read: "asked to read", found: "asked to find", made: "asked to make", changed: "asked to change", deleted: "asked to delete", set: "asked to set", called: "called" };

class AuditTrail extends RecordPages {
  get first() {
    const asked = this.record.startsWith("Patient/") ? `patient=${this.record.slice(8)}` : `entity=${this.record}`;
    return `AuditEvent?${asked}&_sort=-date&_count=${PAGE}`;
  }

  render() {
    const events = (this.entries ?? []).map((entry) => entry.resource).filter((resource) => resource?.resourceType === "AuditEvent");
    return html`<section class="part" aria-labelledby="audit-title">
      <h3 id="audit-title">Who looked, who was refused</h3>
      ${fault(this.error)}
      ${this.entries === undefined && !this.error ? html`<p aria-busy="true">Loading…</p>` : nothing}
      ${this.entries && !events.length ? html`<p class="note">No AuditEvent names this record. The server’s setting <code>AUDIT</code> says what it records.</p>` : nothing}
      ${events.length ? html`<ol class="events">${events.map((event) => this.event(event))}</ol>` : nothing}
      ${this.next ? html`<button class="quiet" ?disabled=${this.busy} @click=${this.more}>Older events</button>` : nothing}
      ${this.raw()}
    </section>`;
  }

  event(event) {
    const agent = event.agent?.find((each) => each.requestor) ?? event.agent?.[0];
    const who = agent?.name ?? agent?.who?.display ?? agent?.who?.identifier?.value ?? agent?.who?.reference ?? "somebody without a token";
    const codes = (event.subtype ?? []).map((each) => each.code);
    // An operation has a name of its own beside the interaction.
    const did = codes.filter((code) => code !== "operation" || codes.length === 1).map((code) => WORDS[code] ?? `called ${code}`).join(", ") || event.action;
    const refused = event.outcome && event.outcome !== "0";
    const about = event.entity?.map((entity) => entity.what?.reference).filter((reference) => reference && reference !== this.record) ?? [];
    return html`<li class=${refused ? "refused" : ""}>
      <time>${moment(event.recorded)}</time>
      <span><b>${who}</b> ${refused ? html`<strong class="no">was refused</strong>: ${did.replace(/^(read|found|made|changed|deleted|set|called)/, (word) => TRIED[word])}${event.outcomeDesc ? html` <small>(${event.outcomeDesc})</small>` : nothing}` : did}
        ${about.length ? html`<small>with ${about.slice(0, 3).join(", ")}</small>` : nothing}</span>
    </li>`;
  }
}
customElements.define("audit-trail", AuditTrail);
