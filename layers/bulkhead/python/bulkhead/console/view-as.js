// “View as”: whose eyes the page looks through. An organisation, a patient, or the claims of a pasted token.

import { html, nothing } from "./lit.js";
import { View } from "./view.js";
import { accountsOf, claimsOf, isFenced, patientOf } from "./session.js";
import { listed, personName } from "./fhir.js";

/** The reader's own claims. */
export function yourself(session) {
  const { scope, scp, accounts, patient } = session.claims;
  return { label: "You", claims: Object.fromEntries(Object.entries({ scope: scope ?? scp, accounts, patient }).filter(([, given]) => given !== undefined)) };
}

/** Properties: `asking`, `accounts`, `patient` (id). Event `choose` (detail: {label, claims}). */
class ViewAs extends View {
  static properties = { ...View.properties, asking: { attribute: false }, accounts: { attribute: false }, patient: { attribute: false }, version: { attribute: false }, organisations: { state: true }, pasting: { state: true } };

  connectedCallback() {
    super.connectedCallback();
    this.attempt(async () => {
      const { body } = await this.ask("GET", "Organization?_elements=name&_sort=name&_count=200");
      const found = (body.entry ?? []).map((entry) => entry.resource).filter((each) => each.resourceType === "Organization");
      for (const each of found) this.accounts.know(`Organization/${each.id}`, personName(each));
      this.organisations = found.map((each) => `Organization/${each.id}`);
    });
  }

  render() {
    const { asking } = this;
    const account = accountsOf(asking.claims)?.[0];
    const chosen = asking.label === "You" ? "" : (asking.kind ?? account);
    if (!this.api.session.explains)
      return html`<p class="view-as"><small>You see what your token sees. To look as somebody else, use a token without a fence or with <code>accounts.write</code>.</small></p>`;
    return html`<form class="view-as" @submit=${this.paste}>
      <label for="view-as">View as</label>
      <select id="view-as" @change=${(event) => this.choose(event.target.value)}>
        <option value="" .selected=${chosen === ""}>yourself</option>
        ${(this.organisations ?? []).map((each) => html`<option value=${each} .selected=${chosen === each}>${this.accounts.name(each)}</option>`)}
        ${this.patient ? html`<option value="patient" .selected=${chosen === "patient"}>the app of ${this.accounts.name(`Patient/${this.patient}`)}</option>` : nothing}
        <option value="token" .selected=${chosen === "token"}>the holder of a token…</option>
      </select>
      ${this.pasting ? html`<label for="view-token" class="hidden">Token to look as</label>
        <input id="view-token" name="token" required autocomplete="off" spellcheck="false" placeholder="eyJ…"><button>Look</button>` : nothing}
      ${this.pasting ? html`<small>Only its claims are read: the token itself is not sent, and not kept.</small>` : nothing}
    </form>`;
  }

  choose(value) {
    this.pasting = value === "token";
    if (value === "token") return;
    const made = value === "" ? yourself(this.api.session)
      : value === "patient" ? { kind: "patient", label: `The app of ${this.accounts.name(`Patient/${this.patient}`)}`, claims: { patient: this.patient, scope: "patient/*.rs" } }
      : { label: this.accounts.name(value), claims: { accounts: [value], scope: "system/*.cruds" } };
    this.dispatchEvent(new CustomEvent("choose", { detail: made }));
  }

  paste(event) {
    event.preventDefault();
    const field = event.target.elements.token;
    if (!field) return;
    const { scope, scp, accounts, patient } = claimsOf(field.value.trim());
    const claims = Object.fromEntries(Object.entries({ scope: scope ?? scp, accounts, patient }).filter(([, given]) => given !== undefined));
    field.setCustomValidity(Object.keys(claims).length ? "" : "This is no JWT with the claims scope, accounts or patient.");
    if (!field.reportValidity()) return;
    const fence = [...(accountsOf(claims) ?? []).map((each) => this.accounts.name(each)), ...(patientOf(claims) ? [`Patient/${patient}`] : [])];
    this.pasting = false;
    this.dispatchEvent(new CustomEvent("choose", { detail: { kind: "token", label: isFenced(claims) ? `A token of ${listed(fence) || "nothing"}` : "A token without a fence", claims } }));
  }
}
customElements.define("view-as", ViewAs);
