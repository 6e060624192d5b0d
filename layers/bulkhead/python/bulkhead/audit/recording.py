"""The audit trail: decides which requests leave AuditEvents, and makes the writes for them. Semantics, sections 3 and 6.

A change and its event are one commit (`resources/commit.py`). A read or a refusal is recorded before its response leaves
(`api/trail.py`); a request that cannot be recorded fails. Nobody changes or deletes the server's events (`require_untouched`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import uuid4

from bulkhead.audit.events import REFUSED, SUCCESS, Deed, Entity, deed, event
from bulkhead.errors import BulkheadError, Forbidden, MethodNotAllowed, NotFound, Unauthorized
from bulkhead.facts.audit_names import AUDIT_EVENT, PREFIX, is_trail
from bulkhead.facts.security_context import followed
from bulkhead.fhir import dates
from bulkhead.session import Shown
from bulkhead.store import Head, Write

if TYPE_CHECKING:
    from bulkhead.access.caller import Caller
    from bulkhead.session import Session
    from bulkhead.store import Store, Version

Targets = Mapping[str, frozenset[str]]
Patients = tuple[str, ...]

SET_ACCOUNTS, REFUSALS = "$set-accounts", "refusals"
PURGE = "$purge"
OFF = "off"

_ANY = "*"
# More entities than this could outgrow an item of the table.
_ENTITIES = 100


@dataclass(frozen=True, slots=True)
class Policy:
    """The setting AUDIT: types whose reads and whose changes are recorded (`*` for all), and whether refusals and $set-accounts are."""

    reads: frozenset[str] = frozenset()
    changes: frozenset[str] = frozenset()
    set_accounts: bool = False
    refusals: bool = False

    def records_read(self, resource_type: str) -> bool:
        return resource_type in self.reads or _ANY in self.reads

    def records_change(self, resource_type: str) -> bool:
        return resource_type in self.changes or _ANY in self.changes


@lru_cache(maxsize=8)
def policy(text: str) -> Policy:
    """The policy in a setting such as `List.read,List.write,$set-accounts,refusals`, or `off`. ValueError for any other word."""
    words = {word for part in text.split(",") if (word := part.strip())} - {OFF}
    typed = {word for word in words if word.endswith((".read", ".write"))}
    unknown = words - typed - {SET_ACCOUNTS, REFUSALS}
    if unknown:
        raise ValueError(
            f"AUDIT contains {', '.join(sorted(unknown))}: it accepts Type.read, Type.write, $set-accounts, refusals, off"
        )
    reads = frozenset(word.removesuffix(".read") for word in typed if word.endswith(".read"))
    changes = frozenset(word.removesuffix(".write") for word in typed if word.endswith(".write"))
    return Policy(reads, changes, SET_ACCOUNTS in words, REFUSALS in words)


def reader(session: Session) -> Callable[[Version], None]:
    """What to call with a resource that the request tells of without showing it: puts it into the read log, if reading it is recorded."""
    known = policy(session.settings.audit)

    def read(version: Version) -> None:
        if known.records_read(version.head.type):
            session.shown.append(Shown("search", version.head))

    return read


class _Named(Protocol):
    """A resource, by what it points at."""

    @property
    def key(self) -> str: ...

    @property
    def targets(self) -> Targets: ...


class _Written(NamedTuple):
    """What a write makes, as far as the trail asks."""

    key: str
    targets: Targets


def require_untouched(writes: Sequence[Write], auth: str) -> None:
    """Raises MethodNotAllowed where a write changes or deletes an AuditEvent, Forbidden where it makes one under the server's own ids.

    With `auth` off, on a server that only this machine can reach, clients may change and delete the AuditEvents that clients made.
    """
    for write in writes:
        if not write.key.startswith(f"{AUDIT_EVENT}/"):
            continue
        is_own = is_trail(write.key)
        if is_own and write.base is None:
            raise Forbidden(
                f"only the server makes AuditEvents whose ids begin with {PREFIX}: use another id", f"{AUDIT_EVENT}.id"
            )
        if is_own or (write.base is not None and write.changes_content and is_untouchable(write.key, auth)):
            raise MethodNotAllowed("an AuditEvent cannot be changed or deleted", ["GET", "HEAD", "POST"])


def is_untouchable(key: str, auth: str) -> bool:
    """Whether `key` names an AuditEvent that nobody changes or deletes: with `auth` off clients may, those that they made."""
    return key.startswith(f"{AUDIT_EVENT}/") and (is_trail(key) or auth != OFF)


def of_changes(session: Session, writes: Sequence[Write]) -> list[Write]:
    """The events that belong to the commit of `writes`."""
    known = policy(session.store.settings.audit)
    wanted = [one for one in writes if one.changes_content and known.records_change(one.key.partition("/")[0])]
    named = [_Written(one.key, _targets(session.store, one)) for one in wanted]
    contexts = {followed(one.key, one.targets) for one in named}
    beside = [_Written(one.key, _targets(session.store, one)) for one in writes if one.key in contexts]
    groups: dict[tuple[str, Patients], list[Entity]] = {}
    for write, patients in zip(wanted, _patients(session.store, named, beside), strict=True):
        groups.setdefault((_interaction(write), patients), []).append(Entity(write.key, write.version))
    return [
        made
        for (interaction, patients), entities in groups.items()
        for made in _writes(session, deed(interaction), entities, patients=patients)
    ]


def _interaction(write: Write) -> str:
    if write.body is None:
        return "delete"
    return "create" if write.base is None or write.base.deleted else "update"


def _targets(store: Store, write: Write) -> Targets:
    from bulkhead.facts import index_facts

    known = write.new or write.old
    return known.targets if known else index_facts.targets(store.decode(write.head("")))


def _patients(store: Store, versions: Sequence[_Named], beside: Sequence[_Named]) -> list[Patients]:
    """Of each version the patients whose data it is. A Binary is data of those, too, whose data the resource is that it follows.

    `beside` are resources that the same commit writes; others that are followed are read as they stand, all in one request.
    """
    known = {one.key: one.targets for one in beside}
    follows = [followed(one.key, one.targets) for one in versions]
    unread = sorted({key for key in follows if key and key not in known and not _is_patient(key)})
    heads = store.read_many(unread) if unread else {}
    known |= {key: store.version(head).targets for key, head in heads.items() if not head.deleted}
    return [
        tuple(sorted({*of_patients(one.key, one.targets), *of_patients(key or "", known.get(key or "", {}))}))
        for one, key in zip(versions, follows, strict=True)
    ]


def of_patients(key: str, targets: Targets) -> Patients:
    """The patients whose data a resource with these `targets` is: the Patients among the targets, and the resource if it is one."""
    from bulkhead.facts import index_facts

    return tuple(sorted({*index_facts.patients(targets), *([key] if _is_patient(key) else [])}))


def _is_patient(key: str) -> bool:
    return key.startswith("Patient/")


def of_set_accounts(
    session: Session,
    target: Head,
    accounts: Sequence[str],
    *,
    propagate: bool,
    ends: Mapping[str, str],
    inherit: bool | None,
) -> list[Write]:
    """The event of a `$set-accounts` on `target`; empty if the policy does not record it."""
    if not policy(session.store.settings.audit).set_accounts:
        return []
    asked = {"accounts": " ".join(accounts) or "none", "propagate": str(propagate).lower()}
    if ends:
        asked["until"] = " ".join(f"{account}={end}" for account, end in ends.items())
    if inherit is not None:
        asked["inherit"] = str(inherit).lower()
    (patients,) = _patients(session.store, [session.store.version(target)], ())
    entity = Entity(target.key, target.version, asked)
    return _writes(session, deed("operation", SET_ACCOUNTS), [entity], patients=patients)


def of_purge(session: Session, heads: Sequence[Head]) -> list[Write]:
    """The events of the erasing of some resources: one for the data of each patient, whatever AUDIT says. They name ids only."""
    from bulkhead.access.visibility import last_living

    groups: dict[tuple[str, ...], list[Entity]] = {}
    for head in heads:
        living = last_living(session.store, head)
        pointed_at = session.store.version(living).targets if living else {}
        groups.setdefault(of_patients(head.key, pointed_at), []).append(Entity(head.key, head.version))
    done = deed("operation", PURGE)
    return [
        made for patients, entities in groups.items() for made in _writes(session, done, entities, patients=patients)
    ]


def of_reads(session: Session, done: Deed, heads: Iterable[Head]) -> list[Write]:
    """The events for one deed that showed `heads`: one event per patient."""
    known = policy(session.store.settings.audit)
    shown = {(head.key, head.version): head for head in heads if known.records_read(head.type) and not head.deleted}
    patients = _patients(session.store, [session.store.version(head) for head in shown.values()], ())
    groups: dict[Patients, dict[str, list[int]]] = {}
    for (key, version), its in zip(shown, patients, strict=True):
        groups.setdefault(its, {}).setdefault(key, []).append(version)
    events: list[Write] = []
    for its, versions in groups.items():
        entities = [Entity(key, first, others=tuple(others)) for key, (first, *others) in versions.items()]
        events += _writes(session, done, entities, patients=its)
    return events


def is_refusal(caller: Caller | None, error: BulkheadError) -> bool:
    """Whether `error` refuses the caller access, including a fence's answer that there is no such resource."""
    if isinstance(error, (Unauthorized, Forbidden)):
        return True
    return isinstance(error, NotFound) and caller is not None and caller.restricted


def of_refusal(session: Session, done: Deed, key: str | None, *, error: BulkheadError) -> list[Write]:
    """The event of a refused request about `key` (if it names a resource); empty if the policy does not record it."""
    if not policy(session.store.settings.audit).refusals:
        return []
    entities = [Entity(key)] if key else []
    return _writes(session, done, entities, patients=(), outcome=REFUSED, description=f"{error.status} {error.code}")


def record(store: Store, events: Sequence[Write]) -> None:
    """Writes events that belong to no commit. Unavailable, or an error of DynamoDB's client, where they cannot be written."""
    if events:
        store.commit(events)


def _writes(
    session: Session,
    done: Deed,
    entities: Sequence[Entity],
    *,
    patients: Sequence[str],
    outcome: str = SUCCESS,
    description: str | None = None,
) -> list[Write]:
    from bulkhead.facts import index_facts

    made = []
    for start in range(0, max(len(entities), 1), _ENTITIES):
        identifier = f"{PREFIX}{uuid4()}"
        part = entities[start : start + _ENTITIES]
        resource = event(
            identifier,
            session.caller,
            done,
            entities=part,
            patients=patients,
            recorded=dates.now(),
            outcome=outcome,
            description=description,
        )
        body = session.store.encode(resource)
        key = f"{AUDIT_EVENT}/{identifier}"
        made.append(Write(key, None, body, None, index_facts.facts(resource), method="POST", fresh=True))
    return made
