"""The rules of `fhir.validation`: one small function per element, compiled from the element tables and kept."""
