"""Names of DSTU1, DSTU2 and STU3 with their R4 names: only for messages that tell a client R4's name.

Taken from HL7's lists of resource types and search parameters of these versions; only renamed ones, not removed ones.
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
"""R4's replacement, by the name of a type in older versions."""

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
"""R4's parameters that may have the same meaning, by a parameter in lower case without hyphens: the first that a type has counts."""


def instead_of(resource_type: str) -> str:
    """A hint for a type that R4 does not have: `; in R4 that is MedicationRequest`, "" if there is none."""
    found = TYPES.get(resource_type)
    return f"; in R4 that is {found}" if found else ""


def parameter(code: str, known: Collection[str]) -> str | None:
    """The parameter among `known` for a code of an older version, or for the name of an element; None if there is none."""
    named = _PARAMETERS.get(code.casefold().replace("-", "").replace("_", ""), ())
    return next((other for other in named if other in known), None)
