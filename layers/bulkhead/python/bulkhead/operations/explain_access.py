"""`GET {Type}/{id}/$explain-access`: who can see a resource, and why. Semantics, section 3; docs/sharing.md describes the answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead import resources
from bulkhead.access import explanation, policy, rules
from bulkhead.access.explanation import REASONS, Explanation, Source
from bulkhead.access.policy import Caller
from bulkhead.access.rules import Verdict
from bulkhead.access.visibility import not_known
from bulkhead.api.request import Request
from bulkhead.api.response import Response
from bulkhead.audit import recording
from bulkhead.errors import BadRequest, Forbidden, Gone, Unprocessable
from bulkhead.fhir import references
from bulkhead.session import Session
from bulkhead.store import Version

_CLAIMS = ("scope", "accounts", "patient")
_FORMATS = ("_format", "_pretty")
_EVERY_RIGHT = "system/*.cruds"
Part = dict[str, Any]


def explain_access(request: Request) -> Response:
    """`GET {Type}/{id}/$explain-access`; with `scope`, `accounts` and `patient` also what a token with these claims may do."""
    key = resources.key_of(request.parameters["type"], request.parameters["id"])
    _require_asking(request.caller, key)
    asked = _claims(request.query)
    version = _visible(request.session, key)
    parts = list(_explained(key, explanation.explain(request.store, request.caller, version)))
    if asked is not None:
        caller = policy.caller_of(asked.claims, "on")
        _require_known_patient(request.session, caller)
        parts += _decided(request.session, caller, version)
    return Response(200, {"resourceType": "Parameters", "parameter": parts})


def _require_asking(caller: Caller, key: str) -> None:
    """Forbidden for who neither reads without a fence nor may set accounts."""
    reads = not caller.fenced and policy.may(caller, policy.READ, key.partition("/")[0])
    if not reads and not policy.may_set_accounts(caller):
        text = "$explain-access is for tokens that read without a fence, or that have the right accounts.write"
        raise Forbidden(text, "Authorization")


def _visible(session: Session, key: str) -> Version:
    """The resource as it is. NotFound where it is not there or the caller may neither read it nor set its accounts; Gone."""
    head = session.store.read(key)
    if head is None or (head.deleted and session.caller.restricted):
        raise not_known(session.store, session.caller, key)
    if head.deleted:
        raise Gone(f"{key} was deleted", "id")
    version = session.store.version(head)
    if not explanation.knows(session.store, session.caller)(version):
        raise not_known(session.store, session.caller, key)
    return version


# The caller that is asked about


@dataclass(frozen=True, slots=True)
class _Asked:
    claims: dict[str, str]


def _claims(query: Sequence[tuple[str, str]]) -> _Asked | None:
    """The claims of the token that is asked about, as API Gateway renders them; None where none is. BadRequest.

    Without `scope` the token has every right, so that the fence alone decides.
    """
    for name, _ in query:
        if name not in (*_CLAIMS, *_FORMATS):
            raise BadRequest(f"$explain-access takes {', '.join(_CLAIMS)}", name)
    given = {name: [text for found, text in query if found == name] for name in _CLAIMS}
    for name in ("scope", "patient"):
        if len(given[name]) > 1:
            raise BadRequest(f"{name} may be given only once", name)
    if not any(given.values()):
        return None
    claims = {"sub": "asked", "scope": given["scope"][0] if given["scope"] else _EVERY_RIGHT}
    if given["accounts"]:
        accounts = [word for text in given["accounts"] for word in text.split(",") if word]
        if not all(references.local(account) == account for account in accounts):
            raise BadRequest("accounts must be references Type/id, separated by commas", "accounts")
        claims["accounts"] = f"[{' '.join(accounts)}]"
    if given["patient"]:
        patient = given["patient"][0].removeprefix("Patient/")
        if references.local(f"Patient/{patient}") != f"Patient/{patient}":
            raise BadRequest("patient must be the id of a Patient", "patient")
        claims["patient"] = patient
    return _Asked(claims)


def _require_known_patient(session: Session, asked: Caller) -> None:
    """Unprocessable for a Patient that the caller may not read: what is in that compartment is not for the caller to know."""
    if not asked.patient or policy.sees_all(session.caller, policy.READ, "Patient"):
        return
    head = session.store.read(f"Patient/{asked.patient}")
    knows = explanation.knows(session.store, session.caller)
    if head is None or head.deleted or not knows(session.store.version(head)):
        raise Unprocessable("there is no such Patient", "patient")


# The answer


def _explained(key: str, found: Explanation) -> Iterable[Part]:
    yield {"name": "resource", "valueReference": {"reference": key}}
    for account, sources in found.accounts.items():
        parts: list[Part] = [{"name": "account", "valueReference": {"reference": account}}]
        parts += [{"name": "source", "part": list(_source(source))} for source in sources]
        yield {"name": "account", "part": parts}
    yield {"name": "sealed", "valueBoolean": found.sealed}
    yield {"name": "private", "valueBoolean": found.private}
    for target, through in found.compartments.items():
        parts = [{"name": "compartment", "valueReference": {"reference": target}}, *_through(through)]
        yield {"name": "compartment", "part": parts}
    if found.shared:
        yield {"name": "proxy", "part": [{"name": "rule", "valueCode": rules.Rule.SHARED_TYPE}]}
    if found.context:
        parts = [{"name": "rule", "valueCode": rules.Rule.SECURITY_CONTEXT}]
        yield {"name": "proxy", "part": [*parts, {"name": "resource", "valueReference": {"reference": found.context}}]}


def _source(source: Source) -> Iterable[Part]:
    yield {"name": "kind", "valueCode": "inherited" if source.root or source.hidden else "own"}
    if source.root:
        yield {"name": "from", "valueReference": {"reference": source.root}}
    yield from _through(source.through)
    if source.until:
        yield {"name": "until", "valueInstant": source.until}


def _through(codes: Iterable[str]) -> list[Part]:
    return [{"name": "through", "valueString": code} for code in codes]


def _decided(session: Session, caller: Caller, version: Version) -> Iterable[Part]:
    verdicts = explanation.decide_for(session.store, session.caller, caller, version=version)
    for interaction, verdict in verdicts.items():
        if interaction in ("update", "delete") and recording.is_untouchable(version.key, session.settings.auth):
            verdict = rules.NEVER_CHANGED if verdict.rule != rules.Rule.NO_SCOPE else verdict
        yield {"name": "decision", "part": list(_decision(interaction, verdict))}


def _decision(interaction: str, verdict: Verdict) -> Iterable[Part]:
    yield {"name": "interaction", "valueCode": interaction}
    if verdict.rule != rules.Rule.HIDDEN_FROM_ASKER:
        yield {"name": "allowed", "valueBoolean": verdict.opens}
    yield {"name": "rule", "valueCode": verdict.rule}
    yield {"name": "reason", "valueString": REASONS[verdict.rule]}
