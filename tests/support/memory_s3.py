"""S3 in memory, for tests that call it thousands of times or from several threads: a versioned bucket, as far as `store` uses one."""

from __future__ import annotations

import io
import threading
from itertools import count
from typing import Any

from botocore.exceptions import ClientError


class MemoryS3:
    """Of each object every version that was put, and not removed by its id, the newest last."""

    exceptions = None

    def __init__(self, page: int = 1000) -> None:
        self.versions: dict[str, dict[str, bytes]] = {}
        """By key and version. A page lists up to `page` objects."""
        self._page, self._numbers = page, count()
        self._lock = threading.Lock()

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> dict[str, Any]:
        with self._lock:
            self.versions.setdefault(Key, {})[str(next(self._numbers))] = Body
        return {}

    def get_object(self, *, Bucket: str, Key: str, VersionId: str | None = None) -> dict[str, Any]:
        with self._lock:
            versions = self.versions.get(Key, {})
            if not versions:
                raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
            return {"Body": io.BytesIO(versions[VersionId or list(versions)[-1]])}

    def delete_object(self, *, Bucket: str, Key: str, VersionId: str) -> dict[str, Any]:
        with self._lock:
            versions = self.versions.get(Key, {})
            versions.pop(VersionId, None)
            if not versions:
                self.versions.pop(Key, None)
        return {}

    def list_object_versions(self, *, Bucket: str, Prefix: str = "", KeyMarker: str = "") -> dict[str, Any]:
        with self._lock:
            found = [name for name in sorted(self.versions) if name.startswith(Prefix) and name > KeyMarker]
            listed = [{"Key": name, "VersionId": at} for name in found[: self._page] for at in self.versions[name]]
        more = {"NextKeyMarker": found[self._page - 1]} if len(found) > self._page else {}
        return {"IsTruncated": bool(more), **({"Versions": listed} if listed else {}), **more}
