"""One version of one resource, and its form as an item of the table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from bulkhead.errors import DoesNotFit
from bulkhead.fhir import dates
from bulkhead.store import keys

if TYPE_CHECKING:
    from bulkhead.errors import Conflict
    from bulkhead.facts.index_facts import Facts
    from bulkhead.store.table import Table

Item = dict[str, Any]

IN_S3 = b"s"
"""The first byte of a body that is the name of an object in S3; `content` has the other forms."""
GRAVESTONE = "purged"
"""The attribute of what stands in a head's place once the resource was purged: until when the id is not free (`erasure`)."""

ITEM_BYTES = 400_000
"""DynamoDB takes 409,600; the rest is for the marks of transactions, and for what a head says for counts: up to 4,000 bytes (`head_counts`)."""
PAGE_WEIGHT = 4_000_000
"""The `weight` after which a page ends, so that memory holds it: some 10 to 40 MB of JSON."""
# What a body in S3 is taken to have: its head does not say.
_WEIGHT_IN_S3 = 1_000_000

OWN = "own"
"""In `Head.ends`, the giver of a resource's own accounts: no key of a resource."""
NEVER = dates.LAST
"""When an account ends that has no end."""

Grants = dict[str, str]
"""Accounts in their order, each with the instant from which on it counts no more (NEVER: it has no end)."""
Ends = Mapping[str, Mapping[str, str]]
"""By giver (OWN, or the key of a target): the ends of those accounts that have one."""


def shown(explicit: Iterable[str], inherited: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """`meta.accounts`: the explicit accounts, then the inherited ones in the order of their targets, each once."""
    merged = dict.fromkeys(explicit)
    for target in sorted(inherited):
        merged.update(dict.fromkeys(inherited[target]))
    return tuple(merged)


class Head(msgspec.Struct, frozen=True):
    """A version of a resource, current or past.

    `body` is opaque: `Store.decode` reads it. None for a deletion. `explicit` are the resource's own accounts,
    `inherited` those that each target gives it; a deletion keeps both. `within` bounds, by account, what a target that
    `propagate`s passes on (see `accounts.passed_on`). `updated` is `meta.lastUpdated`; `flagged` is the time of a later change of
    `propagate` or `within`, if there was one.

    A head that was read holds the accounts that count at that moment: `from_item` leaves out those whose end has come, and nothing
    else needs to know the clock. `ended` are those that it left out.
    """

    key: str
    version: int
    updated: str
    method: str
    body: bytes | None
    explicit: tuple[str, ...] = ()
    inherited: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    propagate: bool = False
    flagged: str = ""
    within: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    unfenced: bool = False
    """Whether the content comes from a caller without a fence: only that content may govern the server (`governing`)."""
    ends: Ends = msgspec.field(default_factory=dict)
    ended: tuple[str, ...] = ()
    lapsed: bool = False
    """Whether the resource ever lost an account by the clock, or its last one by the run of a fenced caller. See `open`."""
    sealed: bool = False
    """Whether the resource inherits nothing, whatever its targets pass on."""
    maker: tuple[str, ...] = ()
    """The accounts that the callers were fenced to who made it, and made it anew after a deletion: () where one was not, or nobody knows."""

    @property
    def type(self) -> str:
        return self.key.partition("/")[0]

    @property
    def id(self) -> str:
        return self.key.partition("/")[2]

    @property
    def deleted(self) -> bool:
        return self.body is None

    @property
    def weight(self) -> int:
        """Bytes of the compressed body, about."""
        if self.body is None:
            return 0
        return _WEIGHT_IN_S3 if self.body[:1] == IN_S3 else len(self.body)

    @property
    def accounts(self) -> tuple[str, ...]:
        """`meta.accounts`: explicit, then inherited, each once."""
        return shown(self.explicit, self.inherited)

    @property
    def open(self) -> bool:
        """Whether the resource carries no account because nobody wants it to: the end of the last account opens nothing to others."""
        return not self.lapsed and not self.accounts

    def granted_by(self, giver: str) -> Grants:
        """What a giver (OWN, or the key of a target) gives the resource."""
        return _grants(self.explicit if giver == OWN else self.inherited.get(giver, ()), self.ends.get(giver, {}))

    @property
    def inherited_grants(self) -> dict[str, Grants]:
        """What the resource inherits, by target."""
        return {root: self.granted_by(root) for root in self.inherited}

    def until(self, account: str) -> str:
        """When the resource carries an account no longer: NEVER where a giver gives it for good, "" where it does not now."""
        return max(self.granted_by(giver).get(account, "") for giver in (OWN, *self.inherited))


def _grants(accounts: Iterable[str], ends: Mapping[str, str]) -> Grants:
    return {account: ends.get(account, NEVER) for account in accounts}


@dataclass(slots=True)
class Write:
    """One change in a commit.

    `base` is the head that was read (None: there must be none yet), `body` the new one's (None: a deletion). `old` and `new` are
    the old and new facts in the index; if both are None, the index does not change. `fresh`: the server has just made the id.

    `ends` are the ends of accounts by giver. Of a giver that it does not name, the accounts keep the ends that they have on `base`:
    so no writer makes an account endless by forgetting that it has an end.
    """

    key: str
    base: Head | None
    body: bytes | None
    old: Facts | None = None
    new: Facts | None = None
    explicit: tuple[str, ...] = ()
    inherited: dict[str, tuple[str, ...]] = field(default_factory=dict)
    propagate: bool = False
    within: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    method: str = "PUT"
    fresh: bool = False
    partial: bool = False
    """Whether it changes a part of the resource and keeps the rest unread: a patch, `$meta-add`."""
    unfenced: bool = False
    """Set by the commit boundary (`resources.commit`) from the caller, and never by a request."""
    maker: tuple[str, ...] = ()
    """Set there too, for a resource that is made; another keeps its own."""
    ends: dict[str, Mapping[str, str]] = field(default_factory=dict)
    sealed: bool | None = None
    """None: as `base` is."""
    lapsed: bool | None = None
    """None: as `base` is. False where somebody who may decides anew who has the resource."""

    @property
    def version(self) -> int:
        return self.base.version + 1 if self.base else 1

    @property
    def changes_content(self) -> bool:
        """Whether it makes, changes or deletes the resource itself, and not only its accounts."""
        return self.new is not None or self.body is None

    @property
    def is_sealed(self) -> bool:
        """Whether the resource is sealed once this is written."""
        return (self.base is not None and self.base.sealed) if self.sealed is None else self.sealed

    def granted_by(self, giver: str) -> Grants:
        """What a giver gives the resource once this is written."""
        given = self.explicit if giver == OWN else self.inherited.get(giver, ())
        kept: Mapping[str, str] = self.base.ends.get(giver, {}) if self.base else {}
        return _grants(given, self.ends.get(giver, kept))

    @property
    def inherited_grants(self) -> dict[str, Grants]:
        """What the resource inherits once this is written, by target."""
        return {root: self.granted_by(root) for root in self.inherited}

    def inherit(self, given: Mapping[str, Grants]) -> None:
        """Make what each target gives the resource `given`, by target."""
        self.inherited = {root: tuple(grants) for root, grants in given.items() if grants}
        own = {OWN: self.ends[OWN]} if OWN in self.ends else {}
        self.ends = {**own, **{root: _with_end(given[root]) for root in self.inherited}}

    def _makers(self) -> tuple[str, ...]:
        """The accounts within which the resource was made, each time that it was; () where one of the times was without a fence."""
        base = self.base
        if base is None:
            return self.maker
        if not base.deleted:
            return base.maker
        return tuple(dict.fromkeys((*base.maker, *self.maker))) if base.maker and self.maker else ()

    def head(self, updated: str) -> Head:
        """The head that this write makes."""
        base = self.base
        kept = base is not None and base.unfenced
        ends = {giver: ending for giver in (OWN, *self.inherited) if (ending := _with_end(self.granted_by(giver)))}
        return Head(
            self.key,
            self.version,
            updated,
            self.method,
            self.body,
            self.explicit,
            self.inherited,
            self.propagate,
            within=self.within,
            # A change of accounts does not change who wrote the content.
            unfenced=self.unfenced if self.changes_content else kept,
            ends=ends,
            lapsed=(base is not None and base.lapsed) if self.lapsed is None else self.lapsed,
            sealed=self.is_sealed,
            maker=self._makers(),
        )


def _with_end(grants: Grants) -> Grants:
    return {account: end for account, end in grants.items() if end != NEVER}


def accounts_write(base: Head, given: Mapping[str, Grants] | None = None, **changed: Any) -> Write:
    """The write that makes the next version of `base`, with the same content.

    `given` is what it inherits, by target (None: what it did); `changed` are other attributes that say who has it.
    """
    kept: dict[str, Any] = {"explicit": base.explicit, "inherited": dict(base.inherited)}
    kept |= {"propagate": base.propagate, "within": base.within}
    write = Write(base.key, base, base.body, **{**kept, **changed}, method="PUT")
    if given is not None:
        write.inherit(given)
    return write


Read = Callable[[Iterable[str]], Mapping[str, Head]]
"""Reads current versions, absent ones left out."""
Inherit = Callable[[Sequence[Write], Read], None]
"""Called between staging and committing: sets `inherited` of each write, from the targets that it reads, at once."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier as the index has it: `value` case folded; `system` None means any."""

    type: str
    value: str
    system: str | None


@dataclass(frozen=True, slots=True)
class Fenced:
    """A caller's fence: a resource that is certainly outside is no match for the caller."""

    name: str
    """Equal for callers who see the same."""
    accounts: tuple[str, ...] | None
    """None if no claim names accounts. A resource is outside if it carries none of these, unless it is open to all without accounts."""
    charts: tuple[str, ...] | None
    """Patients (`Patient/1`); None if no claim names one. A resource is outside if it points at none of these, and is none of them."""
    hides: Callable[[Head], bool]
    """Whether a resource is certainly outside."""


@dataclass(frozen=True, slots=True)
class Unique:
    """The requirement that no resource with one of `identifiers` may meet a condition (`meets`) when the commit is made."""

    identifiers: tuple[Identifier, ...]
    meets: Callable[[Head], bool]
    fence: Fenced | None
    """The caller's fence, None without one: a resource outside of it does not meet the condition."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a conditional create: `owner` is created under a condition that no other resource meets.

    If the condition names identifiers, it is `unique` among all resources, however they were made. Otherwise among those that
    were made under the same condition: its text has an owner. `stale` is a former owner that is gone, whose claim this one
    replaces.
    """

    condition: str
    owner: str
    stale: str | None = None
    unique: Unique | None = None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Whose fresh ids a large transaction of a job uses, so that the job's next delivery can go on with them (`takeover`)."""

    seed: str
    """What the ids derive from."""
    former: tuple[str, ...] = ()
    """The transactions of earlier deliveries that have used them, the last one last."""


class Receipt(Protocol):
    """A job's record of a commit, written in the same commit, so that a second delivery of the job knows (`store.receipts`)."""

    @property
    def size(self) -> int:
        """The number of actions that it adds to the commit."""

    @property
    def lineage(self) -> Lineage | None:
        """None where no other delivery can go on with what the commit stages."""

    def succession(self, table: Table, transaction: str) -> list[Item]:
        """The actions that record a large transaction which takes over from `lineage.former`, in place of `begun`."""

    def begun(self, table: Table, transaction: str) -> None:
        """Called when a large transaction has begun, before it holds anything. JobMovedOn."""

    def actions(self, table: Table, new: Sequence[Head]) -> list[Item]:
        """The actions for the commit; called directly before it, with the heads that it makes. JobMovedOn."""

    def refusal(self) -> Conflict:
        """What it means that the condition of one of the actions fails."""


def name_in_s3(body: bytes | None) -> str | None:
    """The name of a large body in S3; None of one that stands in the item itself."""
    return bytes(body[1:]).decode() if body and bytes(body[:1]) == IN_S3 else None


def _strings(values: tuple[str, ...]) -> Item:
    return {"L": [{"S": value} for value in values]}


def _lists(values: Mapping[str, tuple[str, ...]]) -> Item:
    return {"M": {name: _strings(listed) for name, listed in values.items()}}


def _texts(values: Mapping[str, str]) -> Item:
    return {name: {"S": text} for name, text in values.items()}


def _mapping(item: Item, name: str) -> dict[str, tuple[str, ...]]:
    listed = item[name]["M"] if name in item else {}
    return {key: tuple(value["S"] for value in values["L"]) for key, values in listed.items()}


def time_keys(head: Head, *, superseded: bool) -> dict[str, str]:
    """The by-time attributes of a version, which say of a head which accounts it carries.

    Where an account ends by the clock, no key can say so for good: it says that the head itself tells more.
    """
    if head.deleted or superseded:
        end = keys.DELETED if head.deleted else ""
    else:
        lasting = (account for account in head.accounts if not head.ends or head.until(account) == NEVER)
        end = keys.carrying(lasting, is_all=not head.ends)
    return keys.time_keys(head.key, head.version, head.updated, end=end)


def attributes(head: Head, *, superseded: bool = False) -> Item:
    """A version's attributes without its keys: the parts that change from version to version. `superseded`: of the copy of a past one."""
    item: Item = {
        "v": {"N": str(head.version)},
        "updated": {"S": head.updated},
        "method": {"S": head.method},
    }
    item |= _texts(time_keys(head, superseded=superseded))
    if head.body is not None:
        item["body"] = {"B": head.body}
    if head.explicit:
        item["explicit"] = _strings(head.explicit)
    if head.inherited:
        item["inherited"] = _lists(head.inherited)
        if head.accounts:
            # A flat set, for conditions: DynamoDB cannot search the lists of a map.
            item["carries"] = {"SS": sorted(head.accounts)}
    if head.propagate:
        item["propagate"] = {"BOOL": True}
    if head.within:
        item["within"] = _lists(head.within)
    if head.ends:
        item["ends"] = {"M": {giver: {"M": _texts(ending)} for giver, ending in head.ends.items()}}
    if head.maker:
        item["maker"] = _strings(head.maker)
    item |= {name: {"BOOL": True} for name in ("unfenced", "lapsed", "sealed") if getattr(head, name)}
    return item


ACCOUNT_ATTRIBUTES = (
    "explicit",
    "inherited",
    "carries",
    "propagate",
    "within",
    "flagged",
    "unfenced",
    "ends",
    "lapsed",
    "sealed",
    "maker",
)
"""Attributes that say who has a resource, and who wrote it: absent if empty."""


def to_item(head: Head, sort: str = keys.HEAD) -> Item:
    return {"pk": {"S": head.key}, "sk": {"S": sort}, **attributes(head, superseded=sort.startswith(keys.VERSION))}


def from_item(item: Item, at: str | None = None) -> Head:
    """The head of an item, with the accounts that count at the instant `at` (None: now): the one place where accounts meet the clock."""
    head = Head(
        key=item["pk"]["S"],
        version=int(item["v"]["N"]),
        updated=item["updated"]["S"],
        method=item["method"]["S"],
        body=item["body"]["B"] if "body" in item else None,
        explicit=_listed(item, "explicit"),
        inherited=_mapping(item, "inherited"),
        propagate="propagate" in item,
        flagged=item["flagged"]["S"] if "flagged" in item else "",
        within=_mapping(item, "within"),
        unfenced="unfenced" in item,
        lapsed="lapsed" in item,
        sealed="sealed" in item,
        maker=_listed(item, "maker"),
    )
    return _at(head, item["ends"]["M"], at or dates.now()) if "ends" in item else head


def _listed(item: Item, name: str) -> tuple[str, ...]:
    return tuple(value["S"] for value in item[name]["L"]) if name in item else ()


def _at(head: Head, stored: Item, now: str) -> Head:
    """The head without the accounts whose end, of those that are `stored`, has come."""
    ends: dict[str, dict[str, str]] = {
        giver: {account: end["S"] for account, end in ending["M"].items()} for giver, ending in stored.items()
    }

    def counts(giver: str, account: str) -> bool:
        return ends.get(giver, {}).get(account, NEVER) > now

    explicit = tuple(account for account in head.explicit if counts(OWN, account))
    inherited = {root: tuple(one for one in given if counts(root, one)) for root, given in head.inherited.items()}
    inherited = {root: given for root, given in inherited.items() if given}
    going_on = {giver: {one: end for one, end in ending.items() if end > now} for giver, ending in ends.items()}
    going_on = {giver: ending for giver, ending in going_on.items() if ending}
    left = set(shown(explicit, inherited))
    ended = tuple(account for account in head.accounts if account not in left)
    lapsed = head.lapsed or bool(ended)
    return msgspec.structs.replace(
        head, explicit=explicit, inherited=inherited, ends=going_on, ended=ended, lapsed=lapsed
    )


def size(head: Head) -> int:
    """Roughly the bytes of the head's item, and never fewer."""
    listed = (*head.inherited.items(), *head.within.items(), *head.ends.items())
    given = sum(len(name) + 4 + sum(len(account) + 1 for account in accounts) for name, accounts in listed)
    given += 25 * sum(map(len, head.ends.values()))
    named = (*head.explicit, *head.accounts, *head.maker)
    # Its keys may name accounts, too.
    return 800 + len(head.body or b"") + sum(len(account) + 1 for account in named) + given


def require_fitting(made: Iterable[Head]) -> None:
    """Raises DoesNotFit for the first of some heads that has too many accounts, or from too many, for one item."""
    for head in made:
        if size(head) > ITEM_BYTES:
            raise DoesNotFit(head.key)
