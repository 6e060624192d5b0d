"""The content of the server's AuditEvents (R4 auditevent.html; one patient per event, as IHE BALP asks). Pure.

An event names the agent, the action, the entities, the time and the outcome. It has ids and codes only, never the content of a
resource or the values of a search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulkhead.access.caller import Caller

SUCCESS, REFUSED = "0", "4"
"""Codes of `AuditEvent.outcome`: success, minor failure."""
EXECUTE = "E"
ACTIONS: Mapping[str, str] = {"create": "C", "read": "R", "update": "U", "patch": "U", "delete": "D"}
"""`AuditEvent.action` by interaction; others are reads (history, search) or executions (operations)."""

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_REST = {"system": f"{_TERMINOLOGY}/audit-event-type", "code": "rest", "display": "RESTful Operation"}
_INTERACTION = "http://hl7.org/fhir/restful-interaction"
_ENTITY_TYPE = f"{_TERMINOLOGY}/audit-entity-type"
_ROLE = f"{_TERMINOLOGY}/object-role"
_PERSON, _SYSTEM_OBJECT = "1", "2"
_PATIENT_ROLE, _DOMAIN_RESOURCE_ROLE = "1", "4"
_IP_ADDRESS = "2"


RECORDED_BY = "urn:bulkhead:recorded-by"
"""System of the tag that marks the server's AuditEvents: `AuditEvent?_tag=urn:bulkhead:recorded-by|server`. Clients cannot set it."""
SERVER, CLIENT = "server", "client"
SENT_BY = "urn:bulkhead:sent-by"
"""URL of the extension that names the sender of a client's AuditEvent: the subject of the token, as an Identifier."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A resource in an event: its key, the version that was read or made, further details by name, and other versions that were read."""

    key: str
    version: int | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    others: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Deed:
    """An action: R4's code of the interaction, and the operation (`$set-accounts`) if it is one."""

    interaction: str
    action: str
    operation: str | None = None


def deed(interaction: str, operation: str | None = None) -> Deed:
    """The deed for an interaction such as `read`, `search-type`, `history-instance`, or for an operation."""
    if interaction in ("operation", "batch", "transaction"):
        return Deed(interaction, EXECUTE, operation)
    return Deed(interaction, ACTIONS.get(interaction, ACTIONS["read"]), operation)


def event(
    identifier: str,
    caller: Caller,
    done: Deed,
    *,
    entities: Sequence[Entity],
    patients: Sequence[str],
    recorded: str,
    outcome: str = SUCCESS,
    description: str | None = None,
) -> dict[str, Any]:
    """The AuditEvent `identifier`: `caller` did `done` to `entities`, data of `patients` (keys), at the instant `recorded`."""
    subtype = [{"system": _INTERACTION, "code": done.interaction}]
    if done.operation:
        subtype.append({"code": done.operation})
    own = {entity.key for entity in entities}
    listed = [_entity(entity) for entity in entities]
    listed += [_entity(Entity(patient)) for patient in patients if patient not in own]
    made: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": identifier,
        "meta": {"tag": [_tag(SERVER)]},
        "type": _REST,
        "subtype": subtype,
        "action": done.action,
        "recorded": recorded,
        "outcome": outcome,
    }
    if description:
        made["outcomeDesc"] = description
    made["agent"] = [_agent(caller)]
    made["source"] = {"observer": {"display": "Bulkhead"}}
    return made | ({"entity": listed} if listed else {})


def sent_by(caller: Caller, resource: dict[str, Any]) -> dict[str, Any]:
    """A client's AuditEvent with its real sender, whatever its agents say. The server's values replace the client's in these places."""
    meta = dict(resource.get("meta", {}))
    meta["tag"] = [tag for tag in meta.get("tag", ()) if tag.get("system") != RECORDED_BY] + [_tag(CLIENT)]
    sender = {"url": SENT_BY, "valueIdentifier": {"value": caller.subject}}
    others = [one for one in resource.get("extension", ()) if one.get("url") != SENT_BY]
    return {**resource, "meta": meta, "extension": [*others, sender]}


def _tag(code: str) -> dict[str, str]:
    return {"system": RECORDED_BY, "code": code}


def _agent(caller: Caller) -> dict[str, Any]:
    made: dict[str, Any] = {"who": {"identifier": {"value": caller.subject}}, "requestor": True}
    if caller.address:
        made["network"] = {"address": caller.address, "type": _IP_ADDRESS}
    return made


def _entity(entity: Entity) -> dict[str, Any]:
    is_patient = entity.key.startswith("Patient/")
    kind, role = (_PERSON, _PATIENT_ROLE) if is_patient else (_SYSTEM_OBJECT, _DOMAIN_RESOURCE_ROLE)
    details = list(entity.details.items())
    details += [("version", str(version)) for version in (entity.version, *entity.others) if version is not None]
    made: dict[str, Any] = {
        "what": {"reference": entity.key},
        "type": {"system": _ENTITY_TYPE, "code": kind},
        "role": {"system": _ROLE, "code": role},
    }
    if details:
        made["detail"] = [{"type": name, "valueString": text} for name, text in details]
    return made
