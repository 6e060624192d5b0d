// Reads FHIR: Parameters, names, dates and what a resource is about. Everything returns plain text.

/** The parts of a Parameters, or of a part, with a name. */
export const named = (holder, name) => (holder?.parameter ?? holder?.part ?? []).filter((part) => part.name === name);

/** The value of the first part with a name; undefined where there is none. */
export const valueOf = (holder, name) => value(named(holder, name)[0]);

export function value(part) {
  const key = Object.keys(part ?? {}).find((name) => name.startsWith("value"));
  return key === "valueReference" ? part[key].reference : key && part[key];
}

export const keyOf = (resource) => `${resource.resourceType}/${resource.id}`;

/** The URL of the next page of a Bundle. */
export const nextOf = (bundle) => bundle.link?.find((link) => link.relation === "next")?.url;

const concept = (given) => given?.text ?? given?.coding?.find((coding) => coding.display)?.display ?? given?.coding?.[0]?.code;

export function personName(person) {
  if (typeof person?.name === "string") return person.name;
  const name = person?.name?.find?.((each) => each.use === "official") ?? person?.name?.[0];
  return name?.text ?? ([...(name?.given ?? []), name?.family].filter(Boolean).join(" ") || undefined);
}

const TITLES = ["code", "type", "vaccineCode", "medicationCodeableConcept", "serviceType", "category", "class"];

const VALUES = ["valueQuantity", "valueString", "valueCodeableConcept", "valueBoolean", "valueInteger"];

/** What a resource is about, in a few words. */
export function title(resource) {
  if (typeof resource.title === "string") return resource.title;
  for (const name of TITLES) {
    const found = [resource[name]].flat()[0];
    const text = typeof found === "object" ? (concept(found) ?? found.display) : undefined;
    if (text) return text;
  }
  return personName(resource) ?? resource.medicationReference?.display ?? resource.description ?? resource.resourceType;
}

/** The measured value of an Observation, "" where there is none. */
export function measured(resource) {
  const { valueQuantity: quantity, valueString, valueCodeableConcept, valueBoolean, valueInteger } = resource;
  if (quantity) return `${quantity.value ?? ""} ${quantity.unit ?? quantity.code ?? ""}`.trim();
  return String(valueString ?? concept(valueCodeableConcept) ?? valueBoolean ?? valueInteger ?? "");
}

const DATES = ["effectiveDateTime", "effectiveInstant", "performedDateTime", "occurrenceDateTime", "onsetDateTime", "authoredOn", "recordedDate", "date",
  "whenHandedOver", "started", "sent", "created", "issued", "recorded", "dateTime", "dateAsserted", "assertedDate", "start", "birthDate"];
const PERIODS = ["effectivePeriod", "performedPeriod", "occurrencePeriod", "period", "onsetPeriod", "billablePeriod", "servicedPeriod"];

/** When what a resource speaks of was: a FHIR date, dateTime or instant; of the version where the resource has none. */
export function when(resource) {
  for (const name of DATES) if (typeof resource[name] === "string") return resource[name];
  for (const name of PERIODS) if (resource[name]?.start) return resource[name].start;
  return resource.meta?.lastUpdated;
}

const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const MONTH = new Intl.DateTimeFormat(undefined, { month: "short", year: "numeric" });
const MOMENT = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });

/** The elements that `title`, `measured` and `when` read: what a list of resources needs of them. */
export const ELEMENTS = ["meta", "title", "name", "description", "medicationReference", ...TITLES, ...VALUES, ...DATES, ...PERIODS].join(",");

/** A FHIR date as the reader writes it. A calendar day stays that day in every zone; an instant is in the reader's zone. */
export function day(text) {
  if (!text) return "";
  if (/^\d{4}$/.test(text)) return text;
  if (/^\d{4}-\d\d$/.test(text)) return MONTH.format(new Date(`${text}-01T00:00`));
  return DAY.format(/^\d{4}-\d\d-\d\d$/.test(text) ? new Date(`${text}T00:00`) : new Date(text));
}

/** An instant in the reader's zone: day and time. */
export const moment = (text) => (text ? MOMENT.format(new Date(text)) : "");

/** The end of an account, in words. An account that ends with a minute's last second ends then, and not a minute before. */
export const until = (text) => (text ? `until ${moment(text)}` : "");

/** Map.groupBy, which not every browser has: a Map of what `keyOf` says to the items that it says it of. */
export function grouped(items, keyOf) {
  const found = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (found.has(key)) found.get(key).push(item);
    else found.set(key, [item]);
  }
  return found;
}

/** `1 record`, `2 records`. */
export const count = (number, noun) => `${number.toLocaleString()} ${noun}${number === 1 ? "" : "s"}`;

/** `a`, `a and b`, `a, b and c`. */
export const listed = (words) => (words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`);
