"""A document and the one that replaces it: bytes, DocumentReferences and a Provenance, each time as one transaction.

python examples/documents.py --base http://127.0.0.1:8000/fhir/R4 --token "$TOKEN"
"""

from __future__ import annotations

import base64

import httpx
from fhir.resources.R4B.binary import Binary
from fhir.resources.R4B.bundle import BundleEntry
from fhir.resources.R4B.documentreference import DocumentReference
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.provenance import Provenance
from fhir_client import (
    accepted,
    arguments,
    changed,
    coded,
    connect,
    create,
    key,
    read,
    search,
    send,
    to_post,
    to_put,
    version,
)

LOINC = "http://loinc.org"
# What the entries of a bundle call each other; the server puts ids in their place.
BYTES = "urn:uuid:6a6c1b58-5d0e-4f4f-8f2a-0c2d6a0f5a11"
DOCUMENT = "urn:uuid:7d0ad0a3-3f5b-4a92-9d40-1b5b6f0c3b22"


def binary(text: str) -> BundleEntry:
    return to_post(Binary(contentType="text/plain", data=base64.b64encode(text.encode()).decode()), BYTES)


def document(patient: str) -> DocumentReference:
    return DocumentReference(
        status="current",
        type=coded(LOINC, "18842-5", "Discharge summary"),
        subject={"reference": patient},
        date="2026-04-01T10:00:00Z",
        content=[{"attachment": {"contentType": "text/plain", "url": BYTES}}],
    )


def provenance(*targets: str) -> BundleEntry:
    return to_post(
        Provenance(
            target=[{"reference": target} for target in targets],
            recorded="2026-04-01T10:00:00Z",
            agent=[{"who": {"display": "Discharge desk"}}],
        )
    )


def add(client: httpx.Client, patient: str, text: str) -> str:
    """A new document. Returns `DocumentReference/id`."""
    entries = (binary(text), to_post(document(patient), DOCUMENT), provenance(DOCUMENT))
    return key(send(client, *entries, to="service/document/new")[1])


def replace(client: httpx.Client, old: DocumentReference, text: str) -> str:
    """The document that replaces `old`, if nobody else has replaced it since it was read. Returns `DocumentReference/id`."""
    former = f"DocumentReference/{old.id}"
    superseded = changed(old, status="superseded")
    following = document(old.subject.reference)
    following.relatesTo = [{"code": "replaces", "target": {"reference": former}}]
    entries = (
        binary(text),
        to_put(superseded, if_match=version(old)),
        to_post(following, DOCUMENT),
        provenance(DOCUMENT, former),
    )
    return key(send(client, *entries, to="service/document/update")[2])


def run(client: httpx.Client) -> tuple[str, str]:
    """The whole story. Returns the old document and the new one, as `DocumentReference/id`."""
    patient = f"Patient/{create(client, Patient(name=[{'family': 'Example'}])).id}"
    first = add(client, patient, "Discharged in good health.")
    old = read(client, DocumentReference, first)
    second = replace(client, old, "Discharged in good health. Follow-up in May.")

    current = search(client, DocumentReference, f"{patient}/DocumentReference", status="current")
    bytes_ = accepted(client.get(current[0].content[0].attachment.url, headers={"Accept": "*/*"})).text
    print(f"current: {second}, which replaces {current[0].relatesTo[0].target.reference}: {bytes_!r}")
    origins = search(client, Provenance, "Provenance", target=first)
    print(f"{first} is named by {len(origins)} Provenances")
    try:
        replace(client, old, "Made from what is not current any more.")
    except RuntimeError as refused:
        print("a second replacement of the same document:", refused)
    return first, second


if __name__ == "__main__":
    given = arguments(__doc__.splitlines()[0])
    with connect(given.base, given.token) as connection:
        run(connection)
