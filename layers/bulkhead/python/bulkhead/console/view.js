// What every component of the console shares: it renders into the page itself, sends requests, and keeps them to show as curl.

import { LitElement, html, nothing } from "./lit.js";
import { curl } from "./api.js";
import { nextOf } from "./fhir.js";

const SHOWN_CALLS = 4;

export class View extends LitElement {
  static properties = { api: { attribute: false }, error: { state: true }, busy: { state: true }, calls: { state: true } };

  constructor() {
    super();
    this.calls = [];
    this.error = null;
    this.busy = false;
    this.stop = new AbortController();
  }

  // The styles are the page's, and labels may name elements of other components.
  createRenderRoot() {
    return this;
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.stop.abort();
  }

  connectedCallback() {
    super.connectedCallback();
    if (this.stop.signal.aborted) this.stop = new AbortController();
  }

  /** Send a request of this view. It ends when the view goes. */
  async ask(method, path, options = {}) {
    const call = this.api.prepare(method, path, { signal: this.stop.signal, ...options });
    this.calls = [call, ...this.calls].slice(0, SHOWN_CALLS);
    try {
      return await this.api.send(call);
    } finally {
      this.requestUpdate("calls");
    }
  }

  /** Run `work`; an error of it is shown in the view. */
  async attempt(work) {
    this.busy = true;
    this.error = null;
    try {
      return await work();
    } catch (error) {
      if (error.name !== "AbortError") this.error = error;
      return undefined;
    } finally {
      this.busy = false;
    }
  }

  /** The last requests of the view, ready to copy. */
  raw() {
    if (!this.calls.length) return nothing;
    return html`<raw-calls .calls=${this.calls} .token=${Boolean(this.api.session.token)}></raw-calls>`;
  }
}

/** A view of the entries of a Bundle, page by page. */
export class PagedView extends View {
  static properties = { ...View.properties, entries: { state: true }, next: { state: true } };

  /** Show the page at `path`, after the entries that are `kept`. An answer that a later request has overtaken is not shown. */
  page(path, kept = []) {
    const asked = (this.asked = {});
    return this.attempt(async () => {
      const { body } = await this.ask("GET", path);
      if (asked === this.asked) [this.entries, this.next] = [[...kept, ...(body.entry ?? [])], nextOf(body)];
    });
  }

  more() {
    return this.page(this.api.path(this.next), this.entries);
  }
}

/** Pages about one record. `first`: the path of the first of them. Read anew for each record and each round. */
export class RecordPages extends PagedView {
  static properties = { ...PagedView.properties, record: { attribute: false }, round: { attribute: false } };

  willUpdate(changed) {
    if (!changed.has("record") && !changed.has("round")) return;
    this.entries = this.next = undefined;
    this.page(this.first);
  }
}

/** An error as the server words it, with the places that it names. */
export function fault(error) {
  if (!error) return nothing;
  const places = (error.issues ?? []).flatMap((issue) => issue.expression ?? []);
  return html`<div class="fault" role="alert">
    <strong>${error.message}</strong>
    ${places.length ? html`<small>At ${places.join(", ")}</small>` : nothing}
    ${error.status ? html`<small>HTTP ${error.status}</small>` : nothing}
  </div>`;
}

class RawCalls extends LitElement {
  static properties = { calls: { attribute: false }, token: { attribute: false }, copied: { state: true } };

  createRenderRoot() {
    return this;
  }

  render() {
    return html`<details class="raw">
      <summary>The request${this.calls.length > 1 ? "s" : ""} behind this</summary>
      ${this.token ? html`<p><small>Set <code>TOKEN</code> to your token first: the console does not print it.</small></p>` : nothing}
      ${this.calls.map((call) => {
        const text = curl(call, this.token);
        return html`<div class="raw-call">
          <div class="raw-head"><small>${call.status ? `${call.status} after ${call.milliseconds} ms` : "under way"}</small>
            <button class="quiet" @click=${() => this.copy(text)}>${this.copied === text ? "Copied" : "Copy"}</button></div>
          <pre tabindex="0" aria-label="curl command"><code>${text}</code></pre>
        </div>`;
      })}
      <span class="hidden" role="status">${this.copied ? "Copied" : ""}</span>
    </details>`;
  }

  async copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      this.copied = text;
    } catch {
      // Without the right to the clipboard (plain http), the text can be selected.
      this.copied = undefined;
    }
  }
}
customElements.define("raw-calls", RawCalls);
