"""Who has looked at a patient's medication list, and who has changed it: the server writes it down by itself.

python examples/audit_trail.py --base http://127.0.0.1:8000/fhir/R4 --token "$TOKEN"
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import medication_list
from fhir.resources.R4B.auditevent import AuditEvent
from fhir_client import arguments, connect, search


def line(event: AuditEvent) -> str:
    """When, what (R4's code of the interaction), who, and on which resources."""
    who = event.agent[0].who.identifier.value
    what = ", ".join(entity.what.reference for entity in event.entity)
    return f"{event.recorded:%H:%M:%S} {event.subtype[0].code:<16} by {who}: {what}"


def run(client: httpx.Client) -> list[AuditEvent]:
    """Use a medication list, then ask who did: by patient and day, by List, by user. Returns the patient's events, the oldest first."""
    patient = medication_list.begin(client)
    medications = medication_list.current_list(client, patient)
    medication_list.change(client, patient)

    today = datetime.now(UTC).date()
    days = {"date": [f"ge{today - timedelta(1)}", f"lt{today + timedelta(2)}"]}
    events = search(client, AuditEvent, "AuditEvent", patient=patient, _sort="date", **days)
    for event in events:
        print(line(event))
    of_list = search(client, AuditEvent, "AuditEvent", entity=f"List/{medications.id}")
    user = events[0].agent[0].who.identifier.value
    of_user = search(client, AuditEvent, "AuditEvent", **{"agent:identifier": f"|{user}", "patient": patient})
    print(f"{len(events)} events of the patient, {len(of_list)} of the list, {len(of_user)} of {user} on the patient")

    # Nobody changes or deletes one, whatever their rights.
    answers = (
        client.put(f"AuditEvent/{events[0].id}", content=events[0].model_dump_json()),
        client.delete(f"AuditEvent/{events[0].id}"),
    )
    print("changing and deleting an event:", *(answer.status_code for answer in answers))
    return events


if __name__ == "__main__":
    given = arguments(__doc__.splitlines()[0])
    with connect(given.base, given.token) as connection:
        run(connection)
