// Jobs: the progress of one that runs, and the list of the caller's own.

import { html, nothing } from "./lit.js";
import { PagedView, View, fault } from "./view.js";
import { count, moment, valueOf } from "./fhir.js";

const POLL = 1000;
const STATES = { starting: "is starting", running: "is running", committed: "is being finished", done: "is done", failed: "failed", cancelled: "was cancelled" };
const KINDS = { "set-accounts": "Set accounts of", purge: "Erase", bundle: "Process a bundle", batch: "Process a batch", transaction: "Process a transaction" };
const UNDER_WAY = ["starting", "running", "committed"];

/** `22 records now stand as asked.` */
export const standing = (updated) => `${count(updated, "record")} now ${updated === 1 ? "stands" : "stand"} as asked.`;

/** The result of a job, from the Bundle at its status URL: whether all was `done`, and a `text`. */
export function told(bundle) {
  const entry = bundle?.entry?.[0];
  const updated = valueOf(entry?.resource, "resourcesUpdated");
  const failed = entry?.response?.outcome?.issue?.map((issue) => issue.diagnostics ?? issue.code).join("; ");
  const stands = updated === undefined ? "" : standing(updated);
  if (failed && !entry.response.status.startsWith("2")) return { done: false, text: `${failed}. ${stands}`.replace("..", ".") };
  return { done: true, text: stands || `${count(bundle?.entry?.length ?? 0, "answer")} came back.` };
}

/** Follows a job. Property `status`: the path of its status. Event `finished` (detail: what `told` gives). */
export class JobProgress extends View {
  static properties = { ...View.properties, status: { attribute: false }, progress: { state: true }, cancelling: { state: true } };

  willUpdate(changed) {
    if (changed.has("status")) this.follow();
  }

  async follow() {
    const { status } = this;
    await this.attempt(async () => {
      for (;;) {
        const answer = await this.ask("GET", status);
        if (status !== this.status) return;
        if (answer.status !== 202) {
          this.dispatchEvent(new CustomEvent("finished", { detail: told(answer.body) }));
          return;
        }
        this.progress = answer.headers.get("x-progress") ?? "";
        await new Promise((resolve) => setTimeout(resolve, POLL * (Number(answer.headers.get("retry-after")) || 1)));
        if (this.stop.signal.aborted) return;
      }
    });
  }

  cancel() {
    this.cancelling = true;
    return this.attempt(() => this.ask("DELETE", this.status, { repeatable: true }));
  }

  render() {
    const [, done, all] = /^(\d+) of (\d+)/.exec(this.progress ?? "") ?? [];
    return html`<div class="progress">
      <label for="progress-${this.status}">${this.cancelling ? "Stopping…" : "Under way"}</label>
      <progress id="progress-${this.status}" max=${all ?? 1} value=${done ?? nothing}></progress>
      <span role="status">${this.progress || "starting"}</span>
      <button class="secondary" ?disabled=${this.cancelling} @click=${this.cancel}>Cancel</button>
      ${fault(this.error)}
    </div>`;
  }
}
customElements.define("job-progress", JobProgress);

/** The page of jobs. */
class JobsPage extends PagedView {
  static properties = { ...PagedView.properties, nameOf: { attribute: false }, results: { state: true } };

  constructor() {
    super();
    this.results = new Map();
  }

  connectedCallback() {
    super.connectedCallback();
    this.load();
  }

  load() {
    return this.page("job?_count=50");
  }

  result(each) {
    return this.attempt(async () => {
      const { body } = await this.ask("GET", this.api.path(each.status));
      this.results = new Map(this.results).set(each.id, told(body).text);
    });
  }

  render() {
    return html`<main class="page" id="main" tabindex="-1">
      <header class="panel-head"><div><h1>Jobs</h1><p>Your own runs in the background, the newest first. The server keeps them for some days.</p></div>
        <button class="secondary" ?disabled=${this.busy} @click=${this.load}>Refresh</button></header>
      ${fault(this.error)}
      ${this.entries === undefined && !this.error ? html`<p aria-busy="true">Loading…</p>` : nothing}
      ${this.entries?.length === 0 ? html`<p class="note">There is none. A share of a whole compartment runs as a job.</p>` : nothing}
      <ol class="jobs">${(this.entries ?? []).map((entry) => this.job(job(entry.resource)))}</ol>
      ${this.next ? html`<button class="quiet" ?disabled=${this.busy} @click=${this.more}>Older jobs</button>` : nothing}
      ${this.raw()}
    </main>`;
  }

  job(each) {
    const result = this.results.get(each.id);
    return html`<li class="panel">
      <div class="job-head"><h2>${KINDS[each.kind] ?? each.kind} ${each.target ? html`<a href="#/${each.target}">${this.nameOf(each.target)}</a>` : nothing}</h2>
        <span class="state ${each.state}">${STATES[each.state] ?? each.state}</span></div>
      <p><small>Begun ${moment(each.created)}${each.ended ? html`, ended ${moment(each.ended)}` : nothing}${each.progress ? ` · ${each.progress}` : ""}</small></p>
      ${UNDER_WAY.includes(each.state) ? html`<job-progress .api=${this.api} .status=${this.api.path(each.status)} @finished=${(event) => { this.results = new Map(this.results).set(each.id, event.detail.text); this.load(); }}></job-progress>` : nothing}
      ${result ? html`<p role="status">${result}</p>` : UNDER_WAY.includes(each.state) ? nothing : html`<button class="quiet" @click=${() => this.result(each)}>Result</button>`}
    </li>`;
  }
}
customElements.define("jobs-page", JobsPage);

function job(parameters) {
  const names = ["kind", "target", "state", "created", "ended", "progress", "status"];
  return { id: parameters.id, ...Object.fromEntries(names.map((name) => [name, valueOf(parameters, name)])) };
}
