"""Two tenants whose data is made to tempt, and everybody who may come to the front door.

Every text of an owner holds its mark, and so do the ids, but for some that are neutral: through these the owners refer to each
other, so that a reference across tells nothing by itself, and what it leads to would.
"""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt

from bulkhead import resources
from bulkhead.access.policy import EVERYBODY
from bulkhead.api.routes import GATEWAY
from bulkhead.session import Session
from bulkhead.store import Head, Store
from infra.local import lambdas, server
from infra.local.identity import AUDIENCE, Identity
from infra.local.tokens import Verifier
from infra.local.wsgi import Answer
from tests.support.environ import environ

Json = dict[str, Any]

ISSUER = "http://localhost:8000"
BASE = f"{ISSUER}/fhir/R4"

# One owner is a tenant with its first patient; `ATWO` is another patient of the first tenant's.
AONE, ATWO, BEE = "qzaone", "qzatwo", "qzbee"
# A third tenant, which has but a few members of the others' compartments.
CEE = "qzcee"
ORGANIZATIONS = {AONE: "Organization/qzaone-org", ATWO: "Organization/qzaone-org", BEE: "Organization/qzbee-org"}
NEUTRAL = {AONE: "neutral-1", ATWO: "neutral-2", BEE: "neutral-3"}
NO_NEUTRAL = "neutral-0"
OTHER = {AONE: BEE, ATWO: AONE, BEE: AONE}
LAB = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "laboratory"}]}
RIGHTS = "system/*.cruds accounts.write"


_NEW_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True)
class Names:
    """What a request may name: all of one owner, or as much of nobody; and what is the caller's `own`."""

    mark: str
    own: str = AONE

    @property
    def all(self) -> dict[str, str]:
        return {
            "id": f"{self.mark}-id",
            "gone": f"{self.mark}-gone",
            "moved": f"{self.mark}-moved",
            # Whoever must not see one patient of a tenant may see its other, and its organisation.
            "org": {AONE: "qzaone-org", ATWO: "qzbee-org", BEE: "qzbee-org"}.get(self.mark, f"{self.mark}-org"),
            "identifier": f"urn:all|{self.mark}-identifier",
            "text": f"{self.mark}-text",
            "url": f"http://{self.mark}.example/set",
            "code": f"{self.mark}-code",
            "neutral": NEUTRAL.get(self.mark, NO_NEUTRAL),
            "own": f"{self.own}-id",
            "job": JOBS.get(self.mark, "0" * 32),
            "bundle": BUNDLES.get(self.mark, "1" * 32),
            "upload": UPLOADS.get(self.mark, "2" * 32),
        }

    def filled(self, template: str) -> str:
        """`{id}` and the others in a template, replaced."""
        for name, value in self.all.items():
            template = template.replace(f"{{{name}}}", value)
        return template

    def hidden_in(self, text: str, named: Collection[str] | None = None) -> str:
        """A text without these names, or those of them that a request `named`: what a client has said itself, it may be told."""
        for name, value in self.all.items():
            if name == "own" or (named is not None and name not in named):
                continue
            for written in {value, quote(value), quote(value, safe="/:"), quote(value, safe="")}:
                text = text.replace(written, f"<{name}>")
        return text


JOBS: dict[str, str] = {}
BUNDLES: dict[str, str] = {}
UPLOADS: dict[str, str] = {}
"""Ids of an owner's own: of a `$set-accounts`, of a bundle in the background, and of an upload."""


def everything(owner: str) -> Iterator[Json]:
    """All resources of an owner. Each has a text of its own, and accounts, but for letters, which follow what has them."""
    organization = {"reference": ORGANIZATIONS[owner]}
    subject = {"reference": f"Patient/{owner}-id"}
    neutral = NEUTRAL[owner]
    # Those of the others, and one that is not there.
    across = [{"reference": f"Observation/{name}"} for name in (*NEUTRAL.values(), NO_NEUTRAL) if name != neutral]
    text = f"{owner}-text"

    def made(resource_type: str, identifier: str | None = None, **content: Any) -> Json:
        meta = {"accounts": [organization]}
        return {"resourceType": resource_type, "id": identifier or f"{owner}-id", "meta": meta, **content}

    def observation(identifier: str, **content: Any) -> Json:
        contained = [{"resourceType": "Practitioner", "id": "in", "name": [{"family": text}]}]
        code = {"coding": [{"system": "http://loinc.org", "code": "8302-1"}, {"code": f"{owner}-code"}], "text": text}
        return made(
            "Observation",
            identifier,
            contained=contained,
            status="final",
            category=[LAB],
            code=code,
            subject=subject,
            performer=[{"reference": "#in"}, {"reference": f"Practitioner/{neutral}"}],
            valueString=text,
            **content,
        )

    yield made("Organization", ORGANIZATIONS[owner].partition("/")[2], name=ORGANIZATIONS[owner])
    yield made("Practitioner", neutral, name=[{"family": text}])
    for identifier in (f"{owner}-id", f"{owner}-gone"):
        identifiers = [{"system": "urn:all", "value": f"{owner}-identifier"}] if identifier.endswith("-id") else []
        name = [{"family": text, "given": ["Common"]}]
        yield made("Patient", identifier, name=name, birthDate="1990-01-01", managingOrganization=organization) | (
            {"identifier": identifiers} if identifiers else {}
        )
    yield made("Patient", neutral, name=[{"family": text}])
    coded: Json = {"status": "finished", "class": {"code": "AMB"}}
    yield made("Encounter", subject=subject, **coded)
    yield observation(f"{owner}-id", encounter={"reference": f"Encounter/{owner}-id"}, effectiveDateTime="2020-02-02")
    yield observation(neutral)
    yield made("Provenance", target=across, recorded="2020-02-02T00:00:00Z", agent=[{"who": {"display": text}}])  # fmt: skip
    yield made("DiagnosticReport", status="final", code={"coding": [{"code": "common"}], "text": text}, subject=subject, result=across)  # fmt: skip
    entries = [{"item": item} for item in (*across, {"reference": f"Observation/{neutral}"})]
    yield made("List", neutral, status="current", mode="working", title=text, entry=entries)
    medications = {"coding": [{"system": "http://loinc.org", "code": "10160-0"}]}
    yield made("List", status="current", mode="working", title=text, code=medications, subject=subject, entry=entries)
    for identifier in (f"{owner}-id", neutral):
        content = [{"attachment": {"title": text}}]
        yield made(
            "DocumentReference", identifier, status="current", description=text, subject=subject, content=content
        )
    compose = {"include": [{"system": "http://loinc.org", "concept": [{"code": "8302-1"}]}]}
    yield made("ValueSet", status="active", url=f"http://{owner}.example/set", title=text, compose=compose)
    definition: Json = {
        "status": "active",
        "name": "x",
        "description": text,
        "url": f"http://{owner}.example/parameter",
    }
    where: Json = {
        "code": f"{owner}-code",
        "base": ["Observation"],
        "type": "token",
        "expression": "Observation.status",
    }
    yield made("SearchParameter", **definition, **where)
    yield made("Binary", contentType="text/plain", data=base64.b64encode(text.encode()).decode())
    # A letter that carries no account, and follows what does; and one that carries the other's.
    letter = {"contentType": "text/plain", "data": base64.b64encode(text.encode()).decode()}
    followed = {"resourceType": "Binary", "id": f"{neutral}-letter", **letter, "securityContext": subject}
    yield followed
    yield followed | {"id": f"{neutral}-list", "securityContext": {"reference": f"List/{neutral}"}}
    yield made("Basic", code={"text": text}, subject=subject)


@dataclass
class World:
    """The store with all of it, the front door before it, and the tokens of those who come."""

    store: Store
    identity: Identity
    secrets: dict[str, set[str]] = field(default_factory=dict)
    """Of each caller: the marks of what it must not see."""
    tokens: dict[str, str | None] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    """Of each caller that may come in: the owner after whose data it is."""

    def __post_init__(self) -> None:
        self.front = server.Front(
            GATEWAY, lambdas.call, Verifier(ISSUER, [AUDIENCE], self.identity), identity=self.identity
        )

    def put(self, resource: Json) -> Head:
        key = f"{resource['resourceType']}/{resource['id']}"
        return resources.update(Session.of(self.store, EVERYBODY), resource, key)[0]

    def fill(self) -> None:
        for resource_type in ("Practitioner", "Location", "ValueSet"):
            # What is shared: everyone may know of it.
            status = {"status": "active"} if resource_type != "Practitioner" else {}
            self.put({"resourceType": resource_type, "id": "shared", **status})
        for owner in (AONE, ATWO, BEE):
            for resource in everything(owner):
                self.put(resource)
            encounter = self.store.read(f"Encounter/{owner}-id")
            assert encounter is not None
            self.store.set_propagate(encounter, flag=True, within={})
            self._move(owner)
            resources.delete(Session.of(self.store, EVERYBODY), f"Patient/{owner}-gone")

    def plant(self, owner: str) -> None:
        """A member of the Patient's compartment that a third tenant has, and that its accounts never came to."""
        body = next(one for one in everything(owner) if one["resourceType"] == "Observation")
        identifier = f"{CEE}-{owner[2:]}"
        planted = json.loads(json.dumps(body).replace(f"{owner}-text", f"{CEE}-text")) | {"id": identifier}
        write = resources.prepare_create(
            Session.of(self.store, EVERYBODY), planted, f"Observation/{identifier}", fresh=False
        )
        write.explicit = (f"Organization/{CEE}-org",)
        self.store.commit([write])

    def _move(self, owner: str) -> None:
        """An Observation that was another owner's first."""
        for holder in (OTHER[owner], owner):
            body = next(one for one in everything(holder) if one["resourceType"] == "Observation")
            self.put(body | {"id": f"{owner}-moved"})

    def admit(self) -> None:
        """Make the tokens."""
        a, b = ORGANIZATIONS[AONE], ORGANIZATIONS[BEE]
        sign = self.identity.token
        coming = {
            "fenced to A": (sign("a", RIGHTS, [a]), BEE, {BEE, CEE}),
            "fenced to B": (sign("b", RIGHTS, [b]), AONE, {AONE, ATWO, CEE}),
            "patient": (sign("p", "patient/*.cruds accounts.write", patient=f"{AONE}-id"), ATWO, {ATWO, BEE}),
            "both": (sign("ap", f"patient/*.cruds {RIGHTS}", [a], patient=f"{AONE}-id"), ATWO, {ATWO, BEE, CEE}),
            "scopes with a query": (sign("q", f"system/*.cruds?_account={a} accounts.write"), BEE, {BEE, CEE}),
            "patient of nobody": (sign("n", "patient/*.cruds"), AONE, {AONE, ATWO, BEE, CEE}),
            "fenced to nothing": (sign("e", RIGHTS, []), AONE, {AONE, ATWO, BEE, CEE}),
        }
        for name, (token, owner, secrets) in coming.items():
            self.tokens[name], self.targets[name], self.secrets[name] = token, owner, secrets
        self.tokens["everything"] = sign("all", RIGHTS)
        for name, refused in self._refused().items():
            self.tokens[name], self.secrets[name] = refused, {AONE, ATWO, BEE, CEE}

    def _refused(self) -> Mapping[str, str | None]:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "scope": RIGHTS, "exp": now + 600}

        def signed(**changes: Any) -> str:
            return jwt.encode(claims | changes, self.identity._key, "RS256", headers={"kid": self.identity._key_id})

        return {
            "no token": None,
            "garbage": "garbage",
            "expired": signed(exp=now - 1),
            "not yet valid": signed(nbf=now + 600),
            "another issuer": signed(iss="http://elsewhere.example"),
            "another audience": signed(aud="elsewhere"),
            "no subject": signed(sub=""),
            "unsigned": jwt.encode(claims, "", "none", headers={"kid": self.identity._key_id}),
            "without scopes": signed(scope="openid launch"),
            "scope of another type": signed(scope="system/Account.cruds"),
        }

    def ask(
        self, caller: str, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer at the front door. `body` is a resource, or a text."""
        raw = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        given = {"CONTENT_TYPE": "application/fhir+json"} if body is not None else {}
        given |= {_wsgi(name): value for name, value in (headers or {}).items()}
        if token := self.tokens.get(caller):
            given["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        made = environ(method, path, raw, **given)
        made["wsgi.input"] = io.BytesIO(raw)
        return self.front(made)

    def touch(self, owner: str) -> None:
        """A new version of something of an owner's, of each type that is listed by time."""
        for resource in everything(owner):
            if resource["resourceType"] in ("Patient", "Observation") and resource["id"] == f"{owner}-id":
                self.put(resource | {"language": "en"})
                self.put(resource)

    def forget(self, *answers: Answer) -> None:
        """Delete what was made: it names what others have named."""
        for answer in answers:
            made = re.findall(
                rf"(\w+/{_NEW_ID})/_history/1\b",
                json.dumps(dict(answer.headers)) + answer.body.decode(errors="replace"),
            )
            for key in set(made):
                resources.delete(Session.of(self.store, EVERYBODY), key)

    def heads(self) -> dict[str, Head]:
        """All resources as they stand."""
        found = {}
        for owner in (AONE, ATWO, BEE):
            keys = [f"{one['resourceType']}/{one['id']}" for one in everything(owner)]
            found.update(self.store.read_many([*keys, f"Observation/{owner}-moved"]))
        return found


def _wsgi(header: str) -> str:
    name = header.upper().replace("-", "_")
    return name if name == "CONTENT_TYPE" else f"HTTP_{name}"


def world(store: Store, folder: Path) -> World:
    made = World(store, Identity(ISSUER, folder / "identity.pem"))
    made.fill()
    made.admit()
    return made
