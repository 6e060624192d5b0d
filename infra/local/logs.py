"""The log of the local server: one JSON object per line on standard error, with ids and codes only and no patient data."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

STANDARD = frozenset(vars(logging.makeLogRecord({})))


class JsonLines(logging.Formatter):
    """`message`, and the fields that a call gives as `extra`. Never an exception's text, which may quote a patient's data."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD}
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": moment, "level": record.levelname, "message": record.getMessage(), **extra})


def set_up(level: int | str = logging.INFO) -> None:
    """Sends the logger `bulkhead.local` to standard error. An unknown level means INFO; the settings report the fault."""
    logger = logging.getLogger("bulkhead.local")
    logger.setLevel(level if level in logging.getLevelNamesMapping() or isinstance(level, int) else logging.INFO)
    logger.propagate = False
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        logger.addHandler(handler)
