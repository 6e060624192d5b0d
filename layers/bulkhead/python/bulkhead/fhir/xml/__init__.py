"""Reads and writes FHIR XML without loss (R4 xml.html). The element tables alone map XML to the dict that `fhir.json` reads.

expat does the reading, because it reports the byte where an element begins: the reader copies narratives verbatim. It is part
of Python, so a process pays nothing for XML until the first document comes.
"""

from bulkhead.fhir.xml.reader import loads
from bulkhead.fhir.xml.writer import dumps

__all__ = ["dumps", "loads"]
