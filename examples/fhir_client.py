"""What the examples share: a client with a token, FHIR models in and out, and transactions."""

from __future__ import annotations

import argparse
from typing import Any, TypeVar

import httpx
from fhir.resources.R4B.bundle import Bundle, BundleEntry, BundleEntryRequest
from fhir.resources.R4B.resource import Resource

R = TypeVar("R", bound=Resource)
FHIR_JSON = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}


def arguments(description: str, **more: str) -> argparse.Namespace:
    """`--base` and `--token` of the command line; `more` are further options with their help."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--base", default="http://127.0.0.1:8000/fhir/R4", help="default: %(default)s")
    parser.add_argument("--token", default="", help="a bearer token; none for a server that was started with --no-auth")
    for name, text in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", default="", help=text)
    return parser.parse_args()


def connect(base: str, token: str = "") -> httpx.Client:
    headers = FHIR_JSON | ({"Authorization": f"Bearer {token}"} if token else {})
    return httpx.Client(base_url=base.rstrip("/") + "/", headers=headers, timeout=60)


def accepted(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is a success. An error of the server says in an OperationOutcome what is wrong, and where."""
    if answer.is_error:
        issue = answer.json()["issue"][0]
        place = ", ".join(issue.get("expression", []))
        raise RuntimeError(f"{answer.status_code} {issue['code']}: {issue.get('diagnostics')} ({place})")
    return answer


def model(kind: type[R], content: dict[str, Any]) -> R:
    """A resource from the server as a model. `meta.accounts` and `meta.compartment` are Bulkhead's own: the models do not know them."""
    meta = {name: value for name, value in content.get("meta", {}).items() if name not in ("accounts", "compartment")}
    return kind.model_validate({**content, "meta": meta} if meta else content)


def read(client: httpx.Client, kind: type[R], url: str) -> R:
    return model(kind, accepted(client.get(url)).json())


def changed(resource: R, **members: Any) -> R:
    """The resource with other values of these members; None takes one away."""
    return type(resource).model_validate({**resource.model_dump(), **members})


def search(client: httpx.Client, kind: type[R], url: str, **query: str) -> list[R]:
    """All matches, through all pages."""
    found: list[R] = []
    page = accepted(client.get(url, params=query)).json()
    while True:
        matches = [entry for entry in page.get("entry", []) if entry["search"]["mode"] == "match"]
        found += [model(kind, entry["resource"]) for entry in matches]
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            return found
        page = accepted(client.get(following[0])).json()


def create(client: httpx.Client, resource: R) -> R:
    """The resource as the server has made it: with an id and a version."""
    answer = accepted(client.post(resource.get_resource_type(), content=resource.model_dump_json()))
    return model(type(resource), answer.json())


def update(client: httpx.Client, resource: R, *, if_match: str = "") -> R:
    headers = {"If-Match": if_match} if if_match else {}
    url = f"{resource.get_resource_type()}/{resource.id}"
    return model(type(resource), accepted(client.put(url, content=resource.model_dump_json(), headers=headers)).json())


def version(resource: Resource) -> str:
    """The version of a resource, as `If-Match` and `ifMatch` ask for it."""
    return f'W/"{resource.meta.versionId}"'


def to_post(resource: Resource, full_url: str | None = None) -> BundleEntry:
    """An entry that creates. Other entries of the bundle refer to `full_url`; the server puts the id in its place."""
    request = BundleEntryRequest(method="POST", url=resource.get_resource_type())
    return BundleEntry(fullUrl=full_url, resource=resource, request=request)


def to_put(resource: Resource, *, if_match: str | None = None) -> BundleEntry:
    """An entry that updates, if the resource is still at the version `if_match`."""
    url = f"{resource.get_resource_type()}/{resource.id}"
    return BundleEntry(resource=resource, request=BundleEntryRequest(method="PUT", url=url, ifMatch=if_match))


def send(client: httpx.Client, *entries: BundleEntry, to: str = "", kind: str = "transaction") -> list[dict[str, Any]]:
    """The entries of the answer to a bundle, in the order of the bundle. A transaction is done whole, or not at all."""
    bundle = Bundle(type=kind, entry=list(entries))
    return accepted(client.post(to, content=bundle.model_dump_json())).json()["entry"]


def key(entry: dict[str, Any]) -> str:
    """`Type/id` of what an entry of a bundle has made."""
    return entry["response"]["location"].partition("/_history")[0]


def coded(system: str, code: str, text: str) -> dict[str, Any]:
    """A CodeableConcept."""
    return {"coding": [{"system": system, "code": code, "display": text}], "text": text}
