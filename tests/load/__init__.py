"""Figures of speed and cost, printed, not asserted: `make load`, or `python -m tests.load [NAME ...] [--large]`."""
