"""Names of DSTU1, DSTU2 and STU3 that R4 has under others: only for messages that tell a client what R4 calls it.

From HL7's pages of resource and search parameter names of these versions; only what was renamed, not what is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

ATOM_MESSAGE = (
    "an Atom feed is DSTU1's form of a bundle: R4 has a Bundle of type transaction or batch, as application/fhir+xml or"
    " application/fhir+json"
)

TYPES: Mapping[str, str] = {
    "AdverseReaction": "AllergyIntolerance, or AdverseEvent for what happened",
    "Alert": "Flag",
    "BodySite": "BodyStructure",
    "Conformance": "CapabilityStatement",
    "Contraindication": "DetectedIssue",
    "DataElement": "StructureDefinition",
    "DeviceComponent": "DeviceDefinition",
    "DiagnosticOrder": "ServiceRequest",
    "EligibilityRequest": "CoverageEligibilityRequest",
    "EligibilityResponse": "CoverageEligibilityResponse",
    "ImagingObjectSelection": "ImagingStudy",
    "MedicationAdministrationPrescription": "MedicationRequest",
    "MedicationOrder": "MedicationRequest",
    "MedicationPrescription": "MedicationRequest",
    "Order": "Task or ServiceRequest",
    "OrderResponse": "Task",
    "Other": "Basic",
    "ProcedureRequest": "ServiceRequest",
    "Profile": "StructureDefinition",
    "Query": "OperationDefinition",
    "ReferralRequest": "ServiceRequest",
    "SecurityEvent": "AuditEvent",
    "Sequence": "MolecularSequence",
}
"""By the name of a type that older versions had, what R4 has instead."""

_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "created": ("date",),
    "dateasserted": ("recorded-date", "date"),
    "datewritten": ("authoredon",),
    "indexed": ("date",),
    "object": ("entity",),
    "onset": ("onset-date", "onset"),
    "performed": ("date",),
    "period": ("date",),
    "recordeddate": ("recorded-date", "date"),
    "reference": ("entity",),
    "substance": ("code",),
    "user": ("agent",),
    "whengiven": ("effective-time", "effective"),
}
"""By a parameter in lower case, without hyphens, those of R4 that may mean it: the first that a type has."""


def instead_of(resource_type: str) -> str:
    """What to say of a type that R4 does not have: `; in R4 that is MedicationRequest`, "" where nothing is known."""
    found = TYPES.get(resource_type)
    return f"; in R4 that is {found}" if found else ""


def parameter(code: str, known: Collection[str]) -> str | None:
    """The parameter among `known` that a code of an older version, or the name of an element, means now; None where there is none."""
    named = _PARAMETERS.get(code.casefold().replace("-", "").replace("_", ""), ())
    return next((other for other in named if other in known), None)
