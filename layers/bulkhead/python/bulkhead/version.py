"""The version of Bulkhead: `version` of pyproject.toml, which the layer does not contain."""

VERSION = "0.1.0"
RELEASED = "2026-11-22"
"""The release date of this version, as the date in its CapabilityStatement."""
