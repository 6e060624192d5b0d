// The console: its frame, its pages, and who is signed in. The place is in the URL's fragment, which no server sees.

import { html, nothing } from "./lit.js";
import { Api } from "./api.js";
import { Accounts } from "./accounts.js";
import { Session, accountsOf, isFenced, patientOf, scopeOf } from "./session.js";
import { View, fault } from "./view.js";
import { listed } from "./fhir.js";
import { yourself } from "./view-as.js";
import "./sign-in.js";
import "./patients.js";
import "./records.js";
import "./definitions.js";

const ID = /^[A-Za-z0-9.-]{1,64}$/;
const PAGES = [["#/", "Records"], ["#/jobs", "Jobs"], ["#/compartments", "Compartments"]];

class ConsoleApp extends View {
  static properties = { ...View.properties, place: { state: true }, asking: { state: true }, started: { state: true }, lost: { state: true }, expired: { state: true }, version: { state: true } };

  constructor() {
    super();
    this.session = new Session();
    this.api = new Api(this.session);
    this.accounts = new Accounts(this.api);
    this.version = 0;
    this.place = placeOf(location.hash);
    this.session.addEventListener("change", () => {
      this.expired = false;
      // Another token may not read what this one read.
      this.accounts.forget();
      this.asking = yourself(this.session);
    });
    this.accounts.addEventListener("change", () => (this.version += 1));
    this.api.addEventListener("lost", (event) => (this.lost = event.detail));
    this.api.addEventListener("back", () => (this.lost = undefined));
    this.api.addEventListener("unauthorized", () => (this.expired = true));
    addEventListener("hashchange", () => {
      this.place = placeOf(location.hash);
      // Another patient has another app.
      if (this.asking.kind === "patient" && this.asking.claims.patient !== this.place.patient) this.asking = yourself(this.session);
    });
  }

  connectedCallback() {
    super.connectedCallback();
    this.asking = yourself(this.session);
    this.attempt(() => this.session.start()).then(() => (this.started = true));
  }

  updated(changed) {
    if (!changed.has("place") || !changed.get("place")) return;
    if (changed.get("place").page !== this.place.page) {
      this.querySelector("#main")?.focus({ preventScroll: true });
    }
  }

  render() {
    return html`<a class="skip" href="#main" @click=${this.skip}>Skip to the records</a>
      <header class="top">
        <a class="brand" href="#/"><img src="console/icon.svg" alt="" width="28" height="28"><b>Bulkhead</b></a>
        ${this.session.ready ? html`<nav aria-label="Pages"><ul>${PAGES.map(([href, name]) => html`<li><a href=${href} aria-current=${this.isAt(href) ? "page" : nothing}>${name}</a></li>`)}</ul></nav>` : nothing}
        ${this.session.ready ? this.who() : nothing}
      </header>
      <div class="banners" role="status">
        ${this.lost === undefined ? nothing : html`<p class="banner">The server cannot be reached. The page tries again by itself, and loses nothing. <button class="quiet" @click=${() => this.api.retry()}>Try now</button></p>`}
        ${this.expired ? html`<p class="banner">The server does not accept the token (any more). <button class="quiet" @click=${() => this.session.set("")}>Sign in again</button></p>` : nothing}
      </div>
      ${this.started || this.session.token ? this.page() : html`<main class="page narrow" id="main"><p aria-busy="true">Loading…</p></main>`}`;
  }

  isAt(href) {
    return (href === "#/") === (this.place.page === "records" || this.place.page === "search") && (href === "#/" || href.slice(2) === this.place.page);
  }

  who() {
    const { claims } = this.session;
    const patient = patientOf(claims);
    const fence = [...(accountsOf(claims) ?? []), ...(patient ? [`Patient/${patient}`] : [])].map((each) => this.accounts.name(each));
    return html`<div class="who"><span title=${scopeOf(claims)}><b>${this.session.open ? "No token needed" : (claims.name ?? claims.sub ?? "A token")}</b>
        <small>${isFenced(claims) ? `fenced to ${listed(fence) || "nothing"}` : "no fence"}</small></span>
      ${this.session.open ? nothing : html`<button class="quiet" @click=${() => this.session.set("")}>Sign out</button>`}</div>`;
  }

  page() {
    const { api, accounts, place, session } = this;
    if (!session.ready) return html`<sign-in .api=${api} .told=${this.error}></sign-in>`;
    return html`${fault(this.error)}
      ${place.page === "jobs" ? html`<jobs-page .api=${api} .nameOf=${(key) => accounts.name(key)}></jobs-page>`
        : place.page === "compartments" ? html`<definitions-page .api=${api}></definitions-page>`
        : place.page === "records" ? html`
          <section class="tools" aria-label="Whose records, and whose eyes"><patient-search .api=${api} .compact=${true} @open=${(event) => this.open(event.detail)}></patient-search>
            <view-as .api=${api} .accounts=${accounts} .patient=${place.patient} .asking=${this.asking} .version=${this.version} @choose=${(event) => (this.asking = event.detail)}></view-as></section>
          <records-page .api=${api} .accounts=${accounts} .patient=${place.patient} .selected=${place.selected} .sharing=${place.sharing} .asking=${this.asking}
            @go=${(event) => this.go(event.detail)}></records-page>`
        : html`<main class="page narrow" id="main" tabindex="-1"><h1>Whose records?</h1><patient-search .api=${api} @open=${(event) => this.open(event.detail)}></patient-search></main>`}`;
  }

  open(patient) {
    location.hash = `#/Patient/${patient}`;
  }

  go(place) {
    location.hash = `#/Patient/${this.place.patient}${place ? `/${place}` : ""}`;
  }

  skip(event) {
    event.preventDefault();
    this.querySelector("#main")?.focus();
  }
}

/** `#/Patient/1`, `#/Patient/1/why/Observation/2`, `#/Patient/1/share/Patient/1`, `#/jobs`, `#/compartments`. */
function placeOf(hash) {
  const parts = hash.replace(/^#\/?/, "").split("/").filter(Boolean);
  // A link may come from anybody: only types and ids of FHIR become parts of a request.
  if (!parts.every((part) => ID.test(part))) return { page: "search" };
  if (parts[0] === "jobs" || parts[0] === "compartments") return { page: parts[0] };
  if (parts[0] !== "Patient" || !parts[1]) return { page: "search" };
  const key = parts.length === 5 ? `${parts[3]}/${parts[4]}` : "";
  return { page: "records", patient: parts[1], selected: parts[2] === "why" ? key : "", sharing: parts[2] === "share" ? key : "" };
}
customElements.define("console-app", ConsoleApp);
