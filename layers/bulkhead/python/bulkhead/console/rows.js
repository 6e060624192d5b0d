// A list of any number of records: only those in view are in the page. Keys as in a listbox (WAI-ARIA 1.2): arrows, Page, Home, End, Enter.

import { LitElement, html, nothing } from "./lit.js";
import { chip } from "./accounts.js";
import { day } from "./fhir.js";
import { kindOf } from "./explanations.js";

const SPARE = 6;
const MOST_CHIPS = 3;
// console.css has the same width, for their content.
const NARROW = 560;

/** Event `open` (detail: key) and `seen` (detail: keys in view). */
export class RecordRows extends LitElement {
  static properties = {
    rows: { attribute: false },
    accounts: { attribute: false },
    explanations: { attribute: false },
    selected: { attribute: false },
    shared: { attribute: false },
    verdicts: { attribute: false },
    version: { attribute: false },
    top: { state: true },
    size: { state: true },
    active: { state: true },
  };

  constructor() {
    super();
    this.rows = [];
    this.shared = [];
    this.top = 0;
    this.size = { width: 800, height: 480 };
    this.active = 0;
  }

  createRenderRoot() {
    return this;
  }

  get rowHeight() {
    return this.size.width <= NARROW ? 92 : 60;
  }

  get window() {
    const first = Math.max(0, Math.floor(this.top / this.rowHeight) - SPARE);
    return [first, Math.min(this.rows.length, Math.ceil((this.top + this.size.height) / this.rowHeight) + SPARE)];
  }

  firstUpdated() {
    this.box = this.querySelector(".rows");
    this.observer = new ResizeObserver(() => (this.size = { width: this.clientWidth, height: this.box.clientHeight }));
    this.observer.observe(this.box);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.observer?.disconnect();
  }

  willUpdate(changed) {
    this.active = Math.max(0, Math.min(this.active, this.rows.length - 1));
    if (changed.has("selected") || changed.has("rows")) {
      const number = this.rows.findIndex((row) => row.key === this.selected);
      if (number >= 0) this.active = number;
      // What is selected stays in view where the list is sorted or filtered anew.
      this.moved = number >= 0 && number !== this.place;
      this.place = number;
    }
  }

  updated() {
    if (this.moved) this.show(this.place);
    this.moved = false;
    const [first, last] = this.window;
    const keys = this.rows.slice(first, last).map((row) => row.key);
    if (keys.join() !== this.lastSeen) {
      this.lastSeen = keys.join();
      this.dispatchEvent(new CustomEvent("seen", { detail: keys }));
    }
  }

  render() {
    const [first, last] = this.window;
    const shown = this.rows.slice(first, last).map((row, number) => [row, first + number]);
    const active = this.rows[this.active];
    if (active && (this.active < first || this.active >= last)) shown.push([active, this.active]);
    return html`<div class="rows" role="listbox" tabindex="0" aria-label="Records" aria-activedescendant=${active ? `row-${this.active}` : nothing}
      @scroll=${(event) => (this.top = event.target.scrollTop)} @keydown=${this.key}>
      <div class="rows-all" role="presentation" .style=${`height: ${this.rows.length * this.rowHeight}px`}>
        ${shown.map(([row, number]) => this.row(row, number))}
      </div>
    </div>`;
  }

  row(row, number) {
    const found = this.explanations?.get(row.key);
    const kinds = new Map((found?.accounts ?? []).map((given) => [given.account, kindOf(given)]));
    const missing = this.shared.filter((account) => !row.accounts.some((each) => each.account === account));
    const verdict = this.verdicts ? found?.decisions.read?.allowed : undefined;
    const open = verdict === undefined ? "" : verdict ? "sees" : "blind";
    return html`<div role="option" id="row-${number}" class="row ${open} ${number === this.active ? "active" : ""}" aria-selected=${row.key === this.selected}
      aria-setsize=${this.rows.length} aria-posinset=${number + 1} .style=${`top: ${number * this.rowHeight}px; height: ${this.rowHeight}px`}
      @click=${() => this.open(number)}>
      <span class="row-what"><b>${row.title}</b>${row.measured ? html` <span>${row.measured}</span>` : nothing}</span>
      <span class="row-type">${row.type} · ${day(row.when)}</span>
      <span class="row-chips">
        ${found?.sealed ? html`<span class="mark sealed">Sealed</span>` : nothing}
        ${found?.private ? html`<span class="mark private">Private</span>` : nothing}
        ${row.accounts.slice(0, MOST_CHIPS).map((each) => chip(this.accounts, { ...each, kind: kinds.get(each.account) ?? "" }))}
        ${row.accounts.length > MOST_CHIPS ? html`<small>+${row.accounts.length - MOST_CHIPS}</small>` : nothing}
        ${row.accounts.length ? nothing : html`<span class="mark nobody">No account</span>`}
        ${row.accounts.length && missing.length && !this.verdicts
          ? html`<span class="mark missing">Not with ${missing.length === 1 ? this.accounts.name(missing[0]) : `${missing.length} of the patient's`}</span>`
          : nothing}
      </span>
      ${this.verdicts
        ? html`<span class="row-eye">${verdict === undefined ? "…" : verdict ? html`<span class="yes">Sees it</span>` : html`<span class="no">Hidden</span>`}</span>`
        : nothing}
    </div>`;
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.size.height / this.rowHeight) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.rows.length, End: this.rows.length };
    if (event.key === "Enter" || event.key === " ") this.open(this.active);
    else if (event.key in steps) this.show(this.active + steps[event.key]);
    else return;
    event.preventDefault();
  }

  show(number) {
    this.active = Math.max(0, Math.min(this.rows.length - 1, number));
    const top = this.active * this.rowHeight;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    if (top + this.rowHeight > this.box.scrollTop + this.size.height) this.box.scrollTop = top + this.rowHeight - this.size.height;
  }

  open(number) {
    this.active = number;
    const row = this.rows[number];
    if (row) this.dispatchEvent(new CustomEvent("open", { detail: row.key }));
  }
}
customElements.define("record-rows", RecordRows);
