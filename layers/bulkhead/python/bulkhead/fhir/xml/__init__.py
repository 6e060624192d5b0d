"""FHIR XML in and out, without loss (R4 xml.html): the same dict as `model.json` has it, by the element tables alone.

expat reads, because it tells the byte where an element begins: narratives are taken over verbatim. It is part of Python,
so XML costs a process nothing until the first document comes.
"""

from bulkhead.fhir.xml.reader import loads
from bulkhead.fhir.xml.writer import dumps

__all__ = ["dumps", "loads"]
