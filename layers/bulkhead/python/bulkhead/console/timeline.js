// The records of a compartment over time: a lane for each type, a mark for each record.

import { LitElement, html, svg, nothing } from "./lit.js";
import { count, day, grouped } from "./fhir.js";

const LANE = 22;
const LABEL = 148;
const MOST_LANES = 8;
const AXIS = 22;
const DENSE = 50;

/** Event `open` (detail: key). */
export class RecordTimeline extends LitElement {
  static properties = { rows: { attribute: false }, selected: { attribute: false }, outside: { attribute: false }, width: { state: true } };

  constructor() {
    super();
    this.rows = [];
    this.width = 640;
  }

  createRenderRoot() {
    return this;
  }

  connectedCallback() {
    super.connectedCallback();
    this.observer = new ResizeObserver(() => (this.width = Math.max(280, this.clientWidth)));
    this.observer.observe(this);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    this.observer.disconnect();
  }

  render() {
    const dated = this.rows.map((row) => [row, Date.parse(row.when)]).filter(([, time]) => !Number.isNaN(time));
    if (!dated.length) return nothing;
    const lanes = this.lanes(dated);
    let [first, last] = dated.reduce(([low, high], [, time]) => [Math.min(low, time), Math.max(high, time)], [Infinity, -Infinity]);
    if (first === last) [first, last] = [first - 43_200_000, last + 43_200_000];
    const label = Math.min(LABEL, this.width * 0.32);
    const room = this.width - label - 16;
    const x = (time) => label + 8 + (room * (time - first)) / (last - first);
    const height = lanes.length * LANE + AXIS;
    const told = `${count(dated.length, "record")} between ${day(new Date(first).toISOString())} and ${day(new Date(last).toISOString())}. The list has them all.`;
    return html`<svg class="timeline" role="img" aria-label=${told} width=${this.width} height=${height} viewBox="0 0 ${this.width} ${height}">
      ${lanes.map(([type, members], number) => this.lane(type, members, number * LANE + LANE / 2, x, label))}
      ${this.axis(first, last, x, height)}
    </svg>`;
  }

  /** Type and members of each lane, the fullest first; what has no lane of its own shares the last one. */
  lanes(dated) {
    const sorted = [...grouped(dated, ([row]) => row.type)].sort((one, other) => other[1].length - one[1].length);
    if (sorted.length <= MOST_LANES) return sorted;
    return [...sorted.slice(0, MOST_LANES - 1), ["Other types", sorted.slice(MOST_LANES - 1).flatMap(([, members]) => members)]];
  }

  lane(type, members, y, x, label) {
    // Marks that fall on the same three pixels are one mark: thousands of records stay a few hundred elements.
    const marks = new Map();
    for (const [row, time] of members) {
      const place = Math.round(x(time) / 3) * 3;
      const outside = this.outside?.has(row.key) ?? false;
      const standing = marks.get(place);
      marks.set(place, { row: standing?.row ?? row, many: (standing?.many ?? 0) + 1, outside: outside || (standing?.outside ?? false), selected: standing?.selected || row.key === this.selected });
    }
    const isDense = marks.size > DENSE;
    return svg`<g>
      <text x="0" y=${y + 4} class="lane-name">${shortened(type, label)}</text>
      <line x1=${label} x2=${this.width} y1=${y} y2=${y} class="lane-line"></line>
      ${[...marks].map(([place, mark]) => svg`<circle cx=${place} cy=${y} r=${mark.selected ? 7 : isDense ? 3.5 : mark.many > 1 ? 5.5 : 4.5}
        class="mark-dot ${isDense ? "dense" : ""} ${mark.outside ? "outside" : ""} ${mark.selected ? "selected" : ""}" @click=${() => this.open(mark.row)}>
        <title>${mark.many > 1 ? `${mark.many} records, ` : ""}${mark.row.title}, ${day(mark.row.when)}</title></circle>`)}
    </g>`;
  }

  axis(first, last, x, height) {
    const ticks = this.width < 480 ? [first, last] : [first, (first + last) / 2, last];
    const anchor = (number) => (number === 0 ? "start" : number === ticks.length - 1 ? "end" : "middle");
    return ticks.map((time, number) => svg`<text class="tick" x=${x(time)} y=${height - 5} text-anchor=${anchor(number)}>${day(new Date(time).toISOString())}</text>`);
  }

  open(row) {
    this.dispatchEvent(new CustomEvent("open", { detail: row.key }));
  }
}
customElements.define("record-timeline", RecordTimeline);

const shortened = (text, width) => (text.length * 7.2 > width ? `${text.slice(0, Math.max(4, Math.floor(width / 7.2) - 1))}…` : text);
