"""From the claims of a verified token to the caller.

A claim that cannot be read fences to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from bulkhead.access import scopes
from bulkhead.access.caller import Caller
from bulkhead.access.scopes import Scope
from bulkhead.errors import Unauthorized
from bulkhead.fhir import references

SET_ACCOUNTS = "accounts.write"
ANONYMOUS = "anonymous"

# Cognito puts the name of its resource server before every scope (docs/operations/identity.md).
PURGE = "purge"
_PURGING = frozenset({PURGE, f"bulkhead/{PURGE}"})
_SETTING_ACCOUNTS = frozenset({SET_ACCOUNTS, f"bulkhead/{SET_ACCOUNTS}"})
# How a claim that holds nothing may reach us as text: API Gateway renders null in the way of its language, authorizers in that of theirs.
_NOTHING = frozenset({"", "null", "nil", "<nil>", "<null>", "none", "undefined", "nan", "true", "false"})
NOBODY = ""
"""As the Patient that a caller is fenced to: no resource has this id, so no compartment is open to the caller."""


EVERYBODY = Caller(ANONYMOUS, (Scope("system", "*", "cruds"),), sets_accounts=True, purges=True)
"""The caller where `AUTH=off`: every right."""


def caller_of(claims: Mapping[str, str] | None, auth: str) -> Caller:
    """The caller with the verified `claims`, as API Gateway renders them: text, lists as `[a b]`. Unauthorized without."""
    if auth == "off":
        return EVERYBODY
    subject = _text(claims, "sub")
    if claims is None or not subject:
        raise Unauthorized("a bearer token is needed", "Authorization")
    words = _words(_text(claims, "scope") or _text(claims, "scp"))
    given = scopes.parse(words)
    patient = None
    if "patient" in claims or any(word.startswith("patient/") for word in words):
        # Without a launch patient, patient/ scopes open nothing but what is shared.
        patient = _patient(_text(claims, "patient"))
    allowed = _accounts(_text(claims, "accounts")) if "accounts" in claims else None
    return Caller(
        subject,
        given,
        not _SETTING_ACCOUNTS.isdisjoint(words),
        allowed,
        patient,
        purges=not _PURGING.isdisjoint(words),
    )


def _text(claims: Mapping[str, str] | None, name: str) -> str:
    """A claim that is text and says something, "" else."""
    value = (claims or {}).get(name)
    return value if isinstance(value, str) and value.casefold() not in _NOTHING else ""


def _words(text: str) -> list[str]:
    """The words of a text, or of a list as API Gateway renders it."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return inner.split()


def _accounts(text: str) -> tuple[str, ...]:
    """One reference, or `[a b]`. () where there is anything else among them: such a token is not what its issuer meant."""
    is_list = text.startswith("[") and text.endswith("]")
    words = _words(text) if is_list else [text]
    return tuple(dict.fromkeys(words)) if all(references.local(word) == word for word in words) else ()


def _patient(text: str) -> str:
    return text if references.local(f"Patient/{text}") == f"Patient/{text}" else NOBODY
