"""Every key of the table and of its three indexes. No other module spells one.

| item          | pk                   | sk                          | index keys                                              |
| ------------- | -------------------- | --------------------------- | ------------------------------------------------------- |
| head          | `Observation/9`      | `#`                         | by-time; by-target and by-value, in partitions of counts |
| version       | `Observation/9`      | `v#0000000003`              | by-time                                                 |
| staged head   | `Observation/9`      | `s#<transaction id>`        |                                                         |
| index entry   | `Observation/9`      | `i#<target>#<value>#<date>` | by-target (the target), by-value (the value), by-time (the care date) |
| account entry | `Observation/9`      | `a#Organization/a`          | by-target, in the account's own partition               |
| the same, of no account | `Organization/a` | `a#-`                   | by-target: of the types that can be shared              |
| former target | `Observation/9`      | `f#Patient/1`               | by-target, in a partition of what pointed there before  |
| claim made    | `Observation/9`      | `c#<condition>`             | none: which claims name the resource as their owner     |
| pointer to a large body | `Observation/9` | `o#<name of the object in S3>` | none: it leads a purge and the integrity check there (`bodies`) |
| gravestone    | `Observation/9`      | `#`, in place of the head   | by-time: all of them in one partition, by their end     |
| identifier    | `Patient|identifier|123` | `http://system#9`       | none: read where it is, strongly consistent             |
| its reservations | `Patient|identifier|123` | `#`                       |                                                         |
| claim         | `claim#<condition>`  | `#`                         |                                                         |
| transaction   | `txn#<id>`           | `#`                         | by-time while it is open, so that a sweeper finds it    |
| its members   | `txn#<id>`           | `k#0000`                    |                                                         |
| job           | `job#<id>`           | `#`; results `r#<pass>#<n>` |                                                         |
| its receipts  | `job#<id>`           | `e#<entry of the bundle>`   |                                                         |
| owner's list  | `job#of#<owner>`     | `<created>#<job id>`        |                                                         |
| propagation at work | `jobs`         | `<id of the job>`           |                                                         |
| month in use  | `months`             | `Observation#2026-11`       |                                                         |
| month with dates | `date-months`     | `Observation|date#2026-11`  |                                                         |
| definition    | `definitions`        | `CompartmentDefinition/x`   |                                                         |
| place of the integrity check | `integrity` | `0001`, the segment    |                                                         |
| layout        | `layout`             | `#`                         |                                                         |
| secret        | `secret`             | `#`                         |                                                         |
| query of a page link | `query#<hash>` | `#`                        |                                                         |

by-target: `tpk` = the target (with a write shard if many may point at it), `tsk` = `Observation#9`, the source.
by-value:  `vpk` = `Observation|code|1234`, `vsk` = `<sort>#9`; for `_tag`, `_security`, `_profile`, `_source` `vpk` = `*|_tag|x#<shard>`,
           `vsk` = `Observation#<system>#9`.
by-time:   `mpk` = `Observation#2026-11#<shard>`, `msk` = `<lastUpdated>#9#0000000003`, with a `-` at the end if that version is a deletion; of a
           head that is none, with `.` and a hash of each account that it carries at the end, and `?` where only the head tells all;
           of care dates `mpk` = `Observation|date|Patient/1`, `Observation|date|Patient/1|code|1234` or `...|category|laboratory`,
           `msk` = `<date>#9`.

One index entry carries up to one target, one value and one care date: three facts for one item's price. A target is staged before
the accounts of its head are read; that is why searches never find a head by its own facts.

A head says two of them for counts alone (`head_counts`), in partitions that no search lists: `tpk` = `count#Patient/1` with `via`, of the first
Patient that it points at, and `vpk` = `count#Observation|code|1234`, `vsk` = `<system>#9`. What stands there is no hint: it is the head. What a large
transaction has beside a head, to take its place, keeps them aside, in `counted`.

The value of an `identifier` has an item of its own instead of one in by-value, under the same keys. It costs no more, and a reader
of an identifier sees what is staged and committed at that moment, however far the indexes lag.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkhead.facts.index_facts import Facts, Value

HEAD = "#"
ENTRY = "i#"
ACCOUNT = "a#"
VERSION = "v#"
STAGED = "s#"
RECEIPT = "e#"
RESULT = "r#"
MEMBERS = "k#"
FORMER = "f#"
CLAIM = "c#"
BODY = "o#"
DELETED = "-"
_CARRIED, _MORE = ".", "?"
# Behind all that a by-time sort key may have after the number of the version.
_BEHIND = "~"

BY_TARGET, BY_VALUE, BY_TIME = "by-target", "by-value", "by-time"
INDEXES: dict[str, tuple[str, str]] = {BY_TARGET: ("tpk", "tsk"), BY_VALUE: ("vpk", "vsk"), BY_TIME: ("mpk", "msk")}
PROJECTED: dict[str, list[str]] = {BY_TARGET: ["via"]}
COUNTED = (*INDEXES[BY_TARGET], *PROJECTED[BY_TARGET], *INDEXES[BY_VALUE])
"""The attributes by which counts know a head without reading it: those of `head_entry`."""
UNCOUNTED = frozenset({"AuditEvent"})
"""Types whose heads say nothing for counts: there are more of them than of all others, and nobody counts a patient's."""
TTL = "ttl"
IDENTIFIER = "identifier"
OPEN_TRANSACTIONS = "txn"
GRAVESTONES = "purged"
MONTHS = "months"
DATE_MONTHS = "date-months"
DEFINITIONS = "definitions"
INTEGRITY = "integrity"
LAYOUT = "layout"
SECRET = "secret"
OPEN_JOBS = "jobs"

# Targets that all data of an organisation may point at: one GSI partition takes 1,000 writes per second, and a hot one throttles the table.
SHARDS = {
    "Organization": 4,
    "Practitioner": 4,
    "PractitionerRole": 4,
    "Location": 4,
    "HealthcareService": 4,
    "Medication": 4,
}
EMBEDDED_SHARDS = 4
"""The number of partitions of a mark such as `#Medication`, the target of all resources that contain one."""
ACCOUNT_SHARDS = 4
NO_ACCOUNT = "-"
"""In place of an account: what of `SHARED_TYPES` carries none. So a fenced search finds what is shared without reading what is not."""
META_SHARDS = 4
"""The number of partitions of one tag, label, profile or source: all data of an organisation may carry it."""
TIME_SHARDS = 4
MOST_CARRIED = 32
"""The limit on accounts in a by-time sort key: they take 12 of its 1,024 bytes each."""

_DATE_MONTH = re.compile(r"\d{4}-\d\d\+?")

SORT_LIMIT = 800
PARTITION_LIMIT = 1500

Key = tuple[str, str]
"""Partition and sort key of an item."""
Entry = tuple[dict[str, str], frozenset[str]]
"""The content of an index item without its key: its attributes for the GSIs, and `via`."""


def limited(text: str, limit: int) -> str:
    """`text`; above `limit` UTF-8 bytes, its beginning and a hash of the whole: as distinct, and fit for a key."""
    data = text.encode()
    if len(data) <= limit:
        return text
    return data[: limit - 65].decode(errors="ignore") + "~" + hashlib.sha256(data).hexdigest()


def version_sort(version: int) -> str:
    return f"{VERSION}{version:010d}"


def staged_sort(transaction: str) -> str:
    return f"{STAGED}{transaction}"


def account_sort(account: str) -> str:
    return limited(f"{ACCOUNT}{account}", SORT_LIMIT)


def entry_sort(target: str | None, value: Value | None, dated: Value | None = None) -> str:
    texts = [f"{one.parameter}|{one.value}|{one.sort}" if one else "" for one in (value, dated)]
    # Without a care date as it was before there were any: so entries that stand already stay.
    return limited(f"{ENTRY}{target or ''}#{'#'.join(texts if dated else texts[:1])}", SORT_LIMIT)


def former_sort(target: str) -> str:
    return limited(f"{FORMER}{target}", SORT_LIMIT)


def former_partition(target: str) -> str:
    """The by-target partition of what pointed at `target` once, and was deleted or points elsewhere now."""
    return f"former#{target}"


def claim_sort(condition: str) -> str:
    return limited(f"{CLAIM}{condition}", SORT_LIMIT)


def body_sort(name: str) -> str:
    """The sort key of the pointer to the object that holds a large body."""
    return f"{BODY}{name}"


def body_name(sort: str) -> str:
    """The name of the object: the inverse of `body_sort`."""
    return sort.removeprefix(BODY)


def gravestone_keys(key: str, until: str) -> dict[str, str]:
    """The by-time attributes of a gravestone that stands until the instant `until`."""
    return {"mpk": GRAVESTONES, "msk": f"{until}#{key}"}


def governing_key(resource_type: str, name: str) -> str:
    """The key that lists definitions that may govern the server: those of a type by code or url, or all of the type ("")."""
    return limited(f"governing#{resource_type}#{name}", PARTITION_LIMIT)


def query_key(identifier: str) -> str:
    return f"query#{identifier}"


def claim_key(condition: str) -> str:
    return limited(f"claim#{condition}", PARTITION_LIMIT)


def transaction_key(transaction: str) -> str:
    return f"txn#{transaction}"


def members_sort(page: int) -> str:
    """The sort key of a page of a transaction's members."""
    return f"{MEMBERS}{page:04d}"


def open_transaction_sort(begun: str, transaction: str) -> str:
    """The by-time sort key of an open transaction, by the instant at which it began."""
    return f"{begun}#{transaction}"


def open_transaction(sort: str) -> tuple[str, str]:
    """When an open transaction began, and its id: the inverse of `open_transaction_sort`."""
    begun, _, transaction = sort.partition("#")
    return begun, transaction


def job_key(job: str) -> str:
    return f"job#{job}"


def jobs_of_key(owner: str) -> str:
    """Where the jobs of an owner are listed. It begins as the keys of jobs do: a function may be granted these and no others."""
    return limited(f"job#of#{owner}", PARTITION_LIMIT)


def job_sort(created: float, job: str) -> str:
    """The sort key of a job in its owner's list, by the second since 1970 at which it was created."""
    return f"{created:017.6f}#{job}"


def result_sort(turn: int, batch: int) -> str:
    """The sort key of one worker's result: the pass of the job, and its batch within that pass."""
    return f"{RESULT}{turn:04d}#{batch:08d}"


def receipt_sort(entry: int) -> str:
    """The sort key of the receipt for one entry of a job's bundle."""
    return f"{RECEIPT}{entry:08d}"


def shard(text: str, shards: int) -> int:
    return crc32(text.encode()) % shards


def source_sort(key: str) -> str:
    """`Observation/9` as the sort key of by-target: `Observation#9`."""
    return key.replace("/", "#", 1)


def source_key(sort: str) -> str:
    return sort.replace("#", "/", 1)


def target_partition(target: str, source: str) -> str:
    """The by-target partition in which `source` points at `target`."""
    shards = shards_of(target)
    return target if shards == 1 else f"{target}#{shard(source, shards)}"


def target_partitions(target: str) -> list[str]:
    shards = shards_of(target)
    return [target] if shards == 1 else [f"{target}#{n}" for n in range(shards)]


def shards_of(target: str) -> int:
    return EMBEDDED_SHARDS if target.startswith("#") else SHARDS.get(target.partition("/")[0], 1)


def account_partition(account: str, source: str) -> str:
    return f"account#{account}#{shard(source, ACCOUNT_SHARDS)}"


def account_partitions(account: str) -> list[str]:
    return [f"account#{account}#{n}" for n in range(ACCOUNT_SHARDS)]


def value_partition(resource_type: str, parameter: str, value: str) -> str:
    return limited(f"{resource_type}|{parameter}|{value}", PARTITION_LIMIT)


def care_partition(resource_type: str, parameter: str, value: str) -> str:
    """The by-time partition of a patient's resources of a type, or of those with a code or a category, in the order of their care dates."""
    return limited(f"{resource_type}|{parameter}|{value}", PARTITION_LIMIT)


def meta_partition(parameter: str, value: str, identifier: str) -> str:
    """The by-value partition of a parameter about `meta`, such as `_tag`: for all types, sharded by resource."""
    return f"{value_partition('*', parameter, value)}#{shard(identifier, META_SHARDS)}"


def meta_partitions(parameter: str, value: str) -> list[str]:
    return [f"{value_partition('*', parameter, value)}#{n}" for n in range(META_SHARDS)]


def value_sort(sort: str, identifier: str) -> str:
    return f"{limited(sort, SORT_LIMIT)}#{identifier}"


@lru_cache(maxsize=4096)
def carried(account: str) -> str:
    """An account in a by-time sort key: 72 bits of its hash, so that nobody names an account that is taken for another one."""
    return urlsafe_b64encode(hashlib.sha256(account.encode()).digest()[:9]).decode()


def carrying(accounts: Iterable[str], *, is_all: bool) -> str:
    """The end of the by-time sort key of a head that is no deletion: the accounts that it carries for good, `MOST_CARRIED` at most.

    `is_all`: whether it carries no others meanwhile.
    """
    hashes = sorted({carried(account) for account in accounts})
    told = hashes[:MOST_CARRIED]
    return _CARRIED + "".join(told) + ("" if is_all and told == hashes else _MORE)


def accounts_of(end: str) -> tuple[frozenset[str], bool]:
    """The accounts in the end of a by-time sort key of what is no deletion, each as `carried` spells it; and whether these are all."""
    text = end.removeprefix(_CARRIED).removesuffix(_MORE)
    told = frozenset(text[place : place + 12] for place in range(0, len(text), 12))
    return told, end.startswith(_CARRIED) and not end.endswith(_MORE)


def time_keys(key: str, version: int, updated: str, *, end: str) -> dict[str, str]:
    """The by-time attributes of a head or version. `updated` is an instant such as `2026-11-22T01:02:03.456Z`.

    `end` follows the number: DELETED of a deletion, `carrying` of another head, "" of another superseded version. So what exists,
    and under which accounts, is counted without reading it (`store.counts`).
    """
    resource_type, _, identifier = key.partition("/")
    return {
        "mpk": f"{resource_type}#{updated[:7]}#{shard(identifier, TIME_SHARDS)}",
        "msk": f"{updated}#{identifier}#{version:010d}{end}",
    }


def time_of(sort: str) -> tuple[str, int, str]:
    """lastUpdated, the number, and the end (see `time_keys`) of the version with a by-time sort key."""
    updated, _, numbered = sort.split("#")
    end = numbered.lstrip("0123456789")
    return updated, int(numbered.removesuffix(end)), end


def time_position(sort: str) -> str:
    """The place of a version in by-time, by its sort key without its end: so a link may name it, whatever the end is."""
    return sort.removesuffix(time_of(sort)[2])


def time_place(key: str, version: int, updated: str) -> str:
    """The same, by the version itself."""
    return time_keys(key, version, updated, end="")["msk"]


def behind_time(position: str) -> str:
    """A sort key behind which all versions after a place are, and none before or at it, whatever their ends are."""
    return position + _BEHIND


def date_month_sort(resource_type: str, parameter: str, partition: str) -> str:
    """The sort key that lists a partition of dates: `Observation|date#2026-11`."""
    return f"{resource_type}|{parameter}#{partition}"


def is_date_month(value: str) -> bool:
    """Whether the value of an entry is a month of dates (see `facts.date_order`): a code hardly ever looks like one."""
    return value[4:5] == "-" and _DATE_MONTH.fullmatch(value) is not None


def month_sort(resource_type: str, month: str) -> str:
    return f"{resource_type}#{month}"


def time_partitions(resource_type: str, month: str) -> list[str]:
    return [f"{resource_type}#{month}#{n}" for n in range(TIME_SHARDS)]


def index_entries(key: str, facts: Facts | None) -> dict[Key, Entry]:
    """What the index holds of a resource. Joins targets, values and care dates, in sorted order; identifiers stand by themselves."""
    if facts is None:
        return {}
    resource_type, _, identifier = key.partition("/")
    entries: dict[Key, Entry] = {}
    targets: Iterable[tuple[str, frozenset[str]]] = sorted(facts.targets.items())
    values: list[Value] = []
    # Values about `meta`, and those that only newer code has, come last, so that they do not shift the pairs of the others.
    for value in sorted(facts.values, key=_in_pairing_order):
        if value.parameter == IDENTIFIER:
            entries[identifier_key(resource_type, value.value, value.sort, identifier=identifier)] = ({}, frozenset())
        else:
            values.append(value)
    for pair, value, dated in zip_longest(targets, values, sorted(facts.dated, key=_codes_first)):
        attributes: dict[str, str] = {}
        via: frozenset[str] = frozenset()
        if pair:
            attributes["tpk"], attributes["tsk"] = target_partition(pair[0], key), source_sort(key)
            via = pair[1]
        if value:
            if value.parameter[0] == "_":
                attributes["vpk"] = meta_partition(value.parameter, value.value, identifier)
            else:
                attributes["vpk"] = value_partition(resource_type, value.parameter, value.value)
            attributes["vsk"] = value_sort(value.sort, identifier)
        if dated:
            attributes["mpk"] = care_partition(resource_type, dated.parameter, dated.value)
            attributes["msk"] = value_sort(dated.sort, identifier)
        entries[key, entry_sort(pair[0] if pair else None, value, dated)] = (attributes, via)
    # By themselves, so that they shift no pair: tables from before they were kept have the pairs of the others.
    for target in sorted(facts.literals):
        attributes = {"tpk": target_partition(target, key), "tsk": source_sort(key)}
        entries[key, entry_sort(target, None)] = (attributes, frozenset())
    return entries


def head_entry(key: str, facts: Facts | None) -> Entry:
    """What a head says for counts: the first Patient that it points at, and its code. Nothing of a deletion (None)."""
    attributes: dict[str, str] = {}
    resource_type, _, identifier = key.partition("/")
    if facts is None or resource_type in UNCOUNTED:
        return attributes, frozenset()
    patient = min((target for target in facts.targets if target.startswith("Patient/")), default=None)
    if patient:
        attributes["tpk"], attributes["tsk"] = counted_target_partition(patient), source_sort(key)
    if facts.code:
        attributes["vpk"] = counted_value_partition(resource_type, facts.code.parameter, facts.code.value)
        attributes["vsk"] = value_sort(facts.code.sort, identifier)
    return attributes, facts.targets[patient] if patient else frozenset()


def counted_target_partition(target: str) -> str:
    """The by-target partition of the heads that point at a Patient first."""
    return f"count#{target}"


def counted_value_partition(resource_type: str, parameter: str, value: str) -> str:
    """The by-value partition of the heads that have a code first."""
    return limited(f"count#{resource_type}|{parameter}|{value}", PARTITION_LIMIT)


def system_of(sort: str) -> str:
    """The system in the by-value sort key of a head, as `limited` has it."""
    return sort.rpartition("#")[0]


def _in_pairing_order(value: Value) -> tuple[bool, bool, Value]:
    return value.value.endswith("+") and is_date_month(value.value), value.parameter[0] == "_", value


def _codes_first(dated: Value) -> tuple[bool, Value]:
    """Those of categories come last: older code did not write them, and the others keep their pairs."""
    return dated.value.split("|", 2)[1:2] == ["category"], dated


def identifier_key(resource_type: str, value: str, sort: str, *, identifier: str) -> Key:
    """The key of the item which says that the resource `identifier` has the identifier `value` of the system `sort`."""
    return value_partition(resource_type, IDENTIFIER, value), value_sort(sort, identifier)


def is_identifier(key: Key) -> bool:
    """Whether a key is that of an identifier's item."""
    return f"|{IDENTIFIER}|" in key[0] and key[0].partition("|")[0].isalpha() and key[1] != HEAD


def is_reservation(key: Key) -> bool:
    """Whether a key is that of an identifier's reservations (`reservations`)."""
    return f"|{IDENTIFIER}|" in key[0] and key[1] == HEAD


def identified(key: Key) -> str:
    """The resource (`Patient/9`) in the key of an identifier's item."""
    return f"{key[0].partition('|')[0]}/{key[1].rpartition('#')[2]}"


def account_entry(key: str, account: str) -> tuple[Key, Entry]:
    """The index entry which says that `key` carries `account`."""
    attributes = {"tpk": account_partition(account, key), "tsk": source_sort(key)}
    return (key, account_sort(account)), (attributes, frozenset({"_account"}))


def table_definition(name: str) -> dict[str, Any]:
    """The arguments of DynamoDB's CreateTable. Both the CDK app and the local server use them."""
    attributes = ["pk", "sk", *(name for pair in INDEXES.values() for name in pair)]
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": attribute, "AttributeType": "S"} for attribute in attributes],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        "GlobalSecondaryIndexes": [
            {
                "IndexName": index,
                "KeySchema": [
                    {"AttributeName": partition, "KeyType": "HASH"},
                    {"AttributeName": sort, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": PROJECTED[index]}
                if index in PROJECTED
                else {"ProjectionType": "KEYS_ONLY"},
            }
            for index, (partition, sort) in INDEXES.items()
        ],
    }
