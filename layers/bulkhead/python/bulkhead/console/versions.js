// The versions of a record, and what differs from one to the next.

import { html, nothing } from "./lit.js";
import { View, fault } from "./view.js";
import { moment, nextOf } from "./fhir.js";

const PAGE = 20;
// The server changes these with every version, or derives them when it answers.
const DERIVED = new Set(["meta"]);
const KEPT_OF_META = ["security", "tag", "profile"];

/** Path -> text of every value in a resource. */
export function flat(given, path = "", found = new Map()) {
  if (given !== null && typeof given === "object") {
    for (const [name, inner] of Object.entries(given)) {
      if (!path && DERIVED.has(name)) {
        for (const kept of KEPT_OF_META) if (inner[kept]) flat(inner[kept], `meta.${kept}`, found);
        continue;
      }
      flat(inner, Array.isArray(given) ? `${path}[${name}]` : path ? `${path}.${name}` : name, found);
    }
  } else found.set(path, String(given));
  return found;
}

/** What changed between two versions: `{path, before, after}`, either undefined where it was or is not there. */
export function difference(before, after) {
  const [old, fresh] = [flat(before ?? {}), flat(after ?? {})];
  const paths = [...new Set([...old.keys(), ...fresh.keys()])];
  return paths.filter((path) => old.get(path) !== fresh.get(path)).map((path) => ({ path, before: old.get(path), after: fresh.get(path) }));
}

class RecordVersions extends View {
  static properties = { ...View.properties, record: { attribute: false }, round: { attribute: false }, entries: { state: true }, next: { state: true } };

  willUpdate(changed) {
    if (changed.has("record") || changed.has("round")) this.load();
  }

  load() {
    this.entries = undefined;
    return this.attempt(async () => {
      const { record } = this;
      const { body } = await this.ask("GET", `${record}/_history?_count=${PAGE}`);
      if (record === this.record) [this.entries, this.next] = [body.entry ?? [], nextOf(body)];
    });
  }

  more() {
    return this.attempt(async () => {
      const { body } = await this.ask("GET", this.api.path(this.next));
      [this.entries, this.next] = [[...this.entries, ...(body.entry ?? [])], nextOf(body)];
    });
  }

  render() {
    return html`<section class="part" aria-labelledby="versions-title">
      <h3 id="versions-title">Versions</h3>
      ${fault(this.error)}
      ${this.entries ? html`<ol class="versions">${this.entries.map((entry, number) => this.version(entry, this.entries[number + 1], number))}</ol>` : html`<p aria-busy="true">Loading…</p>`}
      ${this.next ? html`<button class="quiet" ?disabled=${this.busy} @click=${this.more}>Older versions</button>` : nothing}
      ${this.raw()}
    </section>`;
  }

  version(entry, older, number) {
    const { resource } = entry;
    const time = moment(resource?.meta?.lastUpdated ?? entry.response?.lastModified);
    if (!resource) return html`<li><b>Deleted</b> <time>${time}</time></li>`;
    const isFirst = !older && !this.next;
    const changes = older?.resource ? difference(older.resource, resource) : [];
    const told = isFirst ? "made" : older && !changes.length ? "only its accounts changed" : `${changes.length} ${changes.length === 1 ? "value" : "values"} changed`;
    const head = html`<b>Version ${resource.meta.versionId}</b> <time>${time}</time> <span>${older || isFirst ? told : ""}</span>`;
    if (!changes.length) return html`<li>${head}</li>`;
    return html`<li><details ?open=${number === 0}><summary>${head}</summary>
      <dl class="changes">${changes.slice(0, 60).map(({ path, before, after }) => html`<div><dt>${path}</dt>
        <dd>${before === undefined ? nothing : html`<del>${before}</del>`} ${after === undefined ? nothing : html`<ins>${after}</ins>`}</dd></div>`)}</dl>
      ${changes.length > 60 ? html`<p><small>and ${changes.length - 60} more</small></p>` : nothing}
    </details></li>`;
  }
}
customElements.define("record-versions", RecordVersions);
