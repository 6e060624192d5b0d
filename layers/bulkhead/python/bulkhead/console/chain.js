// The chain from a record to a verdict, drawn from what `$explain-access` answers: record, parameter, patient, account, fence, scope, verdict.

import { LitElement, html, svg, nothing } from "./lit.js";
import { endOf } from "./explanations.js";
import { accountsOf, isFenced, patientOf, scopeOf } from "./session.js";
import { listed, until } from "./fhir.js";

const NODE = 58;
const GAP = 38;
const SPACE = 10;
const MOST = 4;
const CLOSED_BY_SCOPE = new Set(["no-scope", "scope-query"]);
const INTERACTIONS = [["read", "Read"], ["search", "Find"], ["update", "Change"], ["delete", "Delete"]];

/** The rows of the drawing: `{label, nodes: [{id, title, note, look}]}`, and its lines `{from, to, look}`. */
export function layout(found, claims, accounts, nameOf) {
  const lines = [];
  const fence = accountsOf(claims);
  const holds = (account) => fence?.includes(account) ?? false;
  const sources = sourcesOf(found, claims, nameOf);
  const given = shortenedTo(MOST, found.accounts, (each) => holds(each.account)).map((each) => ({
    id: `account ${each.account}`, title: accounts.name(each.account), note: until(endOf(each.sources)) || "without end", hue: accounts.hue(each.account),
    look: holds(each.account) ? "good" : "", account: each.account, sources: each.sources,
  }));
  const read = found.decisions.read ?? {};
  const opens = read.allowed === true;
  const byScope = CLOSED_BY_SCOPE.has(read.rule);
  for (const source of sources) lines.push({ from: "record", to: source.id, look: source.look === "broken" ? "bad" : "" });
  for (const node of given) for (const each of node.sources) lines.push({ from: sourceId(each), to: node.id, look: node.look });
  const fences = [{ id: "fence", title: fenceTitle(claims, accounts, nameOf), note: fenceNote(claims), look: opens || byScope ? "good" : "bad" }];
  const reached = given.filter((node) => fence === null || holds(node.account));
  for (const node of reached) lines.push({ from: node.id, to: "fence", look: "good" });
  if (fence !== null && !reached.length && given.length) for (const node of given) lines.push({ from: node.id, to: "fence", look: "bad" });
  for (const source of sources) if (source.opens) lines.push({ from: source.id, to: "fence", look: "good" });
  const scope = { id: "scope", title: scopeOf(claims) || "Every right", note: byScope ? "does not allow this" : scopeOf(claims) ? "" : "no scope was asked about", look: byScope ? "bad" : "good" };
  lines.push({ from: "fence", to: "scope", look: opens || byScope ? "good" : "bad" });
  const verdicts = INTERACTIONS.filter(([name]) => found.decisions[name]).map(([name, word]) => {
    const { allowed } = found.decisions[name];
    const look = allowed === undefined ? "" : allowed ? "good" : "bad";
    lines.push({ from: "scope", to: name, look });
    return { id: name, title: word, note: allowed === undefined ? "not for you to know" : allowed ? "allowed" : "refused", look };
  });
  return {
    rows: [
      { label: "The record", nodes: [{ id: "record", title: nameOf(found.key), note: found.key, look: "" }] },
      { label: "gets its accounts from", nodes: sources },
      { label: given.length < found.accounts.length ? `so it carries, among ${found.accounts.length}` : "so it carries", nodes: given.length ? given : [{ id: "nothing", title: "No account", note: "only who has no fence sees it", look: "" }] },
      { label: "the token is fenced to", nodes: fences },
      { label: "its scopes", nodes: [scope] },
      { label: "the verdict", nodes: verdicts },
    ].filter((row) => row.nodes.length),
    lines: lines.filter((line) => line.from && line.to),
  };
}

const sourceId = (source) => (source.kind === "own" ? "own" : `from ${source.from ?? "hidden"}`);

function sourcesOf(found, claims, nameOf) {
  const made = new Map();
  for (const { account, sources } of found.accounts)
    for (const source of sources) {
      const id = sourceId(source);
      const title = source.kind === "own" ? "Itself" : source.from ? nameOf(source.from) : "A record hidden from you";
      const note = source.kind === "own" ? "its own accounts" : source.through.length ? `through ${listed(source.through)}` : "inherited";
      made.set(id, { id, title, note, look: "", account });
    }
  const closed = found.sealed || found.private;
  for (const { target, through } of found.compartments) {
    const id = `from ${target}`;
    const opens = claims.patient !== undefined && target === `Patient/${claims.patient}`;
    const broken = closed && target.startsWith("Patient/") && target !== found.key;
    if (!broken && !opens) continue;
    const standing = made.get(id) ?? { id, title: target === found.key ? "Itself" : nameOf(target), note: target === found.key ? "the patient of the token" : `through ${listed(through)}`, look: "" };
    made.set(id, { ...standing, opens, look: broken ? "broken" : standing.look, note: broken ? `${found.sealed ? "sealed" : "private"}: nothing is inherited` : standing.note });
  }
  for (const proxy of found.proxies) {
    const id = `proxy ${proxy.rule}`;
    made.set(id, { id, title: proxy.resource ? nameOf(proxy.resource) : "Shared type", note: proxy.resource ? "through securityContext" : "for everybody whose scopes allow it", look: "", opens: found.decisions.read?.allowed === true });
  }
  return shortenedTo(MOST, [...made.values()], (each) => each.opens || each.look || each.id === "own");
}

function shortenedTo(most, all, isNeeded) {
  if (all.length <= most) return all;
  return [...all.filter(isNeeded), ...all.filter((each) => !isNeeded(each))].slice(0, most);
}

function fenceTitle(claims, accounts, nameOf) {
  const [fence, patient] = [accountsOf(claims), patientOf(claims)];
  if (fence?.length === 0 || patient === "") return "nothing";
  const parts = [];
  if (fence) parts.push(listed(fence.map((each) => accounts.name(each))));
  if (patient) parts.push(`the compartment of ${nameOf(`Patient/${patient}`)}`);
  return parts.join(", and to ") || "No fence";
}

const fenceNote = (claims) => (isFenced(claims) ? "" : "sees every account");

export class AccessChain extends LitElement {
  static properties = { found: { attribute: false }, claims: { attribute: false }, accounts: { attribute: false }, nameOf: { attribute: false }, version: { attribute: false }, width: { state: true } };

  constructor() {
    super();
    this.width = 520;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.observer = new ResizeObserver(() => (this.width = Math.max(260, this.clientWidth)));
    this.observer.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.observer.disconnect();
  }

  render() {
    if (!this.found) return nothing;
    const { rows, lines } = layout(this.found, this.claims, this.accounts, this.nameOf);
    const places = new Map();
    const width = Math.min(this.width, 760);
    rows.forEach((row, number) => {
      const each = Math.min(300, (width - SPACE * (row.nodes.length - 1)) / row.nodes.length);
      const left = (width - each * row.nodes.length - SPACE * (row.nodes.length - 1)) / 2;
      row.nodes.forEach((node, column) => places.set(node.id, { x: left + column * (each + SPACE), y: 18 + number * (NODE + GAP), width: each }));
    });
    const height = 18 + rows.length * (NODE + GAP) - GAP + 4;
    return html`<div class="chain" .style=${`height: ${height}px; width: ${width}px`}>
      <svg aria-hidden="true" width=${width} height=${height}>${lines.map((line) => this.line(line, places))}</svg>
      <ol>
        ${rows.map((row, number) => html`<li>
          <span class="chain-label" .style=${`top: ${number * (NODE + GAP)}px`}>${row.label}</span>
          ${row.nodes.map((node) => this.node(node, places.get(node.id)))}
        </li>`)}
      </ol>
    </div>`;
  }

  node(node, place) {
    return html`<span class="node ${node.look} ${node.hue === undefined ? "" : `hue hue-${node.hue}`}" title="${node.title}${node.note ? `: ${node.note}` : ""}"
      .style=${`left: ${place.x}px; top: ${place.y}px; width: ${place.width}px; height: ${NODE}px`}
      ><b>${node.title}</b>${node.note ? html`<small>${node.note}</small>` : nothing}</span>`;
  }

  line({ from, to, look }, places) {
    const [above, below] = [places.get(from), places.get(to)];
    if (!above || !below) return nothing;
    const [x, y, x2, y2] = [above.x + above.width / 2, above.y + NODE, below.x + below.width / 2, below.y];
    const middle = (y + y2) / 2;
    return svg`<path class="line ${look}" d="M${x} ${y}C${x} ${middle} ${x2} ${middle} ${x2} ${y2}"></path>`;
  }
}
customElements.define("access-chain", AccessChain);
