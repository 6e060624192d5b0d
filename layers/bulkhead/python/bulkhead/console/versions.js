// The versions of a record, and what differs from one to the next.

import { html, nothing } from "./lit.js";
import { RecordPages, fault } from "./view.js";
import { moment } from "./fhir.js";

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

class RecordVersions extends RecordPages {
  get first() {
    return `${this.record}/_history?_count=${PAGE}`;
  }

  render() {
    return html`<section class="part" aria-labelledby="versions-title">
      <h3 id="versions-title">Versions</h3>
      ${fault(this.error)}
      ${this.entries === undefined && !this.error ? html`<p aria-busy="true">Loading…</p>` : nothing}
      ${this.entries ? html`<ol class="versions">${this.entries.map((entry, number) => this.version(entry, this.entries[number + 1], number))}</ol>` : nothing}
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
    const told = isFirst ? "made" : older && !older.resource ? "made again" : older && !changes.length ? "only its accounts changed" : `${changes.length} ${changes.length === 1 ? "value" : "values"} changed`;
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
