"""Which web pages may use a server that asks for no token (`AUTH=off`): its own, and those of the same machine.

A bearer token goes with no request by itself, so a server that asks for one may answer the pages of every origin (infra/cors.py). One that
asks for none would obey any website that somebody opens in a browser beside it: a page may send a POST to it without asking first.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bulkhead.errors import Forbidden

if TYPE_CHECKING:
    from bulkhead.api.request import Request

_OFF = "off"


def require_own_page(request: Request) -> None:
    """Forbidden where the server asks for no token, and a browser sends the request for a page from elsewhere.

    Browsers name the page's origin in `Origin` (RFC 6454, section 7) of each request that can change something, and of each whose answer
    another origin's page wants to read. Programs send none. A site may also have its own name lead to this machine, so that its pages are
    of the server's origin (DNS rebinding): from this machine, the server is called by a name of this machine, or by that of `BASE_URL`.
    """
    known = request.session.settings
    if known.auth != _OFF:
        return
    if not known.base_url and _is_loopback(request.session.address) and _is_registered(request.base):
        text = "this server asks for no token, so on this machine it is called localhost, or by the name in the setting BASE_URL"
        raise Forbidden(text, "Host")
    origin = request.headers.get("origin")
    if origin is None or _is_own(origin, request.base):
        return
    text = (
        "this server asks for no token, so it serves pages of its own host and of this machine only: start it without --no-auth, and "
        "send a token"
    )
    raise Forbidden(text, "Origin")


def _is_own(origin: str, base: str) -> bool:
    try:
        parts = urlsplit(origin.casefold())
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.netloc == urlsplit(base.casefold()).netloc or _is_loopback(host)


def _is_registered(base: str) -> bool:
    """Whether somebody may have registered the name of a URL's host, and decides where it leads: it has a dot, and is no address."""
    try:
        host = urlsplit(base.casefold()).hostname or ""
    except ValueError:
        return True
    try:
        ip_address(host)
    except ValueError:
        return "." in host and not _is_loopback(host)
    return False


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
