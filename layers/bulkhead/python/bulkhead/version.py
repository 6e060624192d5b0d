"""Which Bulkhead this is: `version` of pyproject.toml, which the layer does not carry."""

VERSION = "0.1.0"
RELEASED = "2026-11-22"
"""The day of this version: the date of what it says about itself."""
