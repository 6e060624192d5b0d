"""Which parameters select few resources of their type: the index holds the values of these (`index_facts.is_indexed`)."""

from __future__ import annotations

from collections.abc import Mapping

# Token parameters whose values many resources of a type share. The type of a parameter already excludes booleans and codes
# under a required binding.
_WIDELY_SHARED = """
achievement-status action address-use agent-role agent-type appointment-type body-site bodysite
business-status category class class-type classification-type clinical-status combo-data-absent-reason
combo-value-concept communication component-data-absent-reason component-value-concept confidentiality
connection-type contenttype context context-type criticality data-absent-reason dicom-class entity-role
entity-type format intended-performertype intent jurisdiction language medium method modality mode
operational-status outcome participant-role participant-type performer-function performer-type priority purpose
relation relationship risk role route scope section security-label security-service service-category setting sex
site source-code special-arrangement specialty status status-reason subtype target-code target-disease use
value-concept verification-status version view
"""
NON_SELECTIVE = frozenset(_WIDELY_SHARED.split())

# Every code of a code system: thousands of values per resource, for a type with few resources.
BULKY = frozenset({("CodeSystem", "code"), ("ValueSet", "code")})

# String parameters that select few resources: names, and what is printed on a product.
SELECTIVE_STRINGS = frozenset(
    {"name", "title", "address-postalcode", "device-name", "udi-di", "udi-carrier", "lot-number"}
)

# Parameters whose values all occur among those of others: a search uses the entries of the others.
COVERED_BY: Mapping[str, tuple[str, ...]] = {
    "family": ("name",),
    "given": ("name",),
    "phone": ("telecom",),
    "email": ("telecom",),
    "combo-code": ("code", "component-code"),
}
