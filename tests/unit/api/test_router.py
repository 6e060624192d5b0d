"""The one way in, through the events of API Gateway: paths, entries of bundles, the read log, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.api import matching, openapi, router
from bulkhead.api.routes import BASE, DEFAULT, OPERATION_DEFINITIONS, ROUTES
from bulkhead.resources import preparation
from bulkhead.store import Store, transactions
from functions import http

PATIENT = {"resourceType": "Patient", "id": "pa"}
LIST = {
    "resourceType": "List",
    "id": "l",
    "status": "current",
    "mode": "working",
    "subject": {"reference": "Patient/pa"},
}
REPRESENTATION = {"prefer": "return=representation"}


@pytest.fixture(autouse=True)
def _served(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "connect", lambda: store)
    send("PUT", "Patient/pa", PATIENT)


def send(method: str, path: str, body: Any = None, query: str = "", **headers: str) -> tuple[int, Any, dict[str, str]]:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    claims = {"sub": "somebody", "scope": "system/*.cruds accounts.write"}
    answer = http.serve(
        {
            "routeKey": "is not in the table",
            "rawPath": f"{BASE}/{path}".rstrip("/") if not path else f"{BASE}/{path}",
            "rawQueryString": query,
            "headers": {"host": "localhost", **{name.replace("_", "-"): text for name, text in headers.items()}},
            "requestContext": {"http": {"method": method}, "authorizer": {"jwt": {"claims": claims}}},
            "body": base64.b64encode(raw).decode(),
            "isBase64Encoded": True,
        }
    )
    return answer["statusCode"], json.loads(answer["body"]) if answer["body"] else None, answer["headers"]


def batch(*entries: dict[str, Any], kind: str = "batch", **headers: str) -> list[dict[str, Any]]:
    status, made, _ = send("POST", "", {"resourceType": "Bundle", "type": kind, "entry": list(entries)}, **headers)
    assert status == 200, made
    found: list[dict[str, Any]] = made["entry"]
    return found


def entry(method: str, url: str, resource: Any = None) -> dict[str, Any]:
    return {"request": {"method": method, "url": url}} | ({} if resource is None else {"resource": resource})


@given(st.sampled_from([route for route in ROUTES if route.path != DEFAULT]), st.randoms(use_true_random=False))
def test_an_escaped_path_is_the_path(route: Any, random: Any) -> None:
    path = route.path.replace("{", "").replace("}", "")
    escaped = "".join(f"%{ord(c):02X}" if c != "/" and random.random() < 0.3 else c for c in path)
    assert matching.match(route.method, escaped) == matching.match(route.method, path)
    assert matching.match(route.method, f"{escaped}/") == matching.match(route.method, path)


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("AccessDenied", 500, "its operators must grant it"),
        ("AccessDeniedException", 500, "its operators must grant it"),
        ("KMSAccessDeniedException", 500, "its operators must grant it"),
        ("InternalError", 503, "send the request again"),
    ],
)
def test_what_sending_again_does_not_help_is_no_503(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: str, status: int, told: str
) -> None:
    def refuse(key: str) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "arn:aws:iam::1:role/x"}}, "GetItem")

    monkeypatch.setattr(store, "read", refuse)
    answered, body, headers = send("GET", "Patient/pa")
    assert (answered, "retry-after" in headers) == (status, status == 503)
    assert told in body["issue"][0]["diagnostics"]
    assert "arn:" not in json.dumps(body)


def test_every_operation_of_the_table_has_its_callable() -> None:
    assert all(callable(router.operation(route.operation)) for route in ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "Patient/pa/%24everything", None),
        ("POST", "Patient/pa/%24everything", None),
        ("POST", "Patient/pa/%24set-accounts", {"resourceType": "Parameters", "parameter": []}),
        ("GET", "Patient/pa/%24meta", None),
        ("POST", "Patient/%24validate", PATIENT),
        ("GET", "Patient/pa/%5Fhistory", None),
        ("GET", "%5Fhistory", None),
        ("POST", "Patient/%5Fsearch", None),
        ("GET", "%50atient/%70a", None),
    ],
)
def test_escaped_operations_are_answered(method: str, path: str, body: Any) -> None:
    status, made, _ = send(method, path, body)
    assert (status, made["resourceType"] == "OperationOutcome") == (200, "validate" in path)


@pytest.mark.parametrize("dollar", ["$", "%24"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("level", ["", "Patient/", "Patient/pa/"])
def test_an_unknown_operation_is_404_with_its_name_and_what_there_is(level: str, method: str, dollar: str) -> None:
    status, made, _ = send(method, f"{level}{dollar}unheard-of")
    assert status == 404
    assert "$unheard-of" in made["issue"][0]["diagnostics"]
    assert "$everything" in made["issue"][0]["diagnostics"]


def test_an_operation_of_another_level_says_where_it_is() -> None:
    status, made, _ = send("POST", "$set-accounts")
    assert (status, "{type}/{id}/$set-accounts" in made["issue"][0]["diagnostics"]) == (404, True)
    status, _, headers = send("GET", "Patient/pa/$set-accounts")
    assert (status, headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "Patient/_search", "POST"),
        ("DELETE", "Patient/_search", "POST"),
        ("GET", "_search", "POST"),
        ("PUT", "Patient/_history", "GET, HEAD"),
        ("POST", "_history", "GET, HEAD"),
        ("POST", "metadata", "GET, HEAD"),
        ("BREW", "metadata", "GET, HEAD"),
        ("DELETE", "job", "GET, HEAD"),
        ("PUT", "OperationDefinition/bulkhead-purge", "GET, HEAD"),
        ("DELETE", "OperationDefinition/bulkhead%2Dpurge", "GET, HEAD"),
        ("GET", "service/document/new", "POST"),
    ],
)
def test_a_path_of_its_own_says_its_methods(method: str, path: str, allowed: str) -> None:
    """Not that `_search` is no id, nor that `metadata` is no resource type."""
    status, refused, headers = send(method, path, {"resourceType": "Parameters"})
    assert (status, headers["allow"]) == (405, allowed)
    assert refused["issue"][0]["expression"] == ["method"]


def test_no_bundle_writes_an_operation_definition_of_the_server() -> None:
    """`GET` of its path shows the server's own, so what a bundle stored there would never be read."""
    assert all(name.startswith(preparation.OWN_OPERATION) for name in OPERATION_DEFINITIONS)
    definition = {
        "resourceType": "OperationDefinition", "id": OPERATION_DEFINITIONS[0], "name": "X", "status": "active",
        "kind": "operation", "code": "x", "system": False, "type": False, "instance": True,
    }  # fmt: skip
    other = definition | {"id": "other"}
    answers = batch(*(entry("PUT", f"OperationDefinition/{one['id']}", one) for one in (definition, other)))
    assert [one["response"]["status"].partition(" ")[0] for one in answers] == ["422", "201"]


@pytest.mark.parametrize(("method", "path"), [("POST", "service/foo"), ("BREW", "Sheep/1"), ("POST", "Sheep/1/*")])
def test_a_path_of_an_unknown_type_is_404_and_takes_no_method(method: str, path: str) -> None:
    status, refused, _ = send(method, path, {"resourceType": "Parameters"})
    assert status == 404
    assert f"{path.partition('/')[0]} is not a resource type of R4" in refused["issue"][0]["diagnostics"]


def test_what_is_no_id_of_a_path_that_is_there_is_still_404() -> None:
    for path in ("Patient/_x", "Patient/a_b", "job/_x/status", "Patient/_history/1"):
        assert send("GET", path)[0] == 404


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("Patient/_search", "OPTIONS, POST"),
        ("metadata", "GET, HEAD, OPTIONS"),
        ("Patient/pa", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("Patient/pa/$purge", "OPTIONS, POST"),
        ("$document-new", "OPTIONS, POST"),
        ("Sheep/1", "OPTIONS"),
        ("OperationDefinition/bulkhead-purge", "GET, HEAD, OPTIONS"),
        ("OperationDefinition/other", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
    ],
)
def test_options_name_the_methods_of_the_path(path: str, allowed: str) -> None:
    assert send("OPTIONS", path)[2]["allow"] == allowed


def test_openapi_documents_every_status_of_success() -> None:
    """For each kind of answer a request that gets it: the document has its status, and no content where there is none."""
    paths = openapi.document(ROUTES, "http://localhost", "")["paths"]
    patch = [{"op": "test", "path": "/id", "value": "pa"}]
    expected = [
        (201, "POST", "Patient", {"resourceType": "Patient"}, "", {}),
        (200, "POST", "Patient", PATIENT, "", {"if_none_exist": "_id=pa"}),
        (201, "PUT", "Patient/new", {"resourceType": "Patient", "id": "new"}, "", {}),
        (200, "PUT", "Patient/pa", PATIENT, "", {}),
        (200, "PUT", "Patient", PATIENT, "_id=pa", {}),
        (200, "PATCH", "Patient/pa", patch, "", {"content_type": "application/json-patch+json"}),
        (200, "PATCH", "Patient", {"active": True}, "_id=pa", {"content_type": "application/merge-patch+json"}),
        (200, "GET", "Patient/pa", None, "", {}),
        (304, "GET", "Patient/pa", None, "", {"if_none_match": "*"}),
        (200, "GET", "Patient/pa/_history/1", None, "", {}),
        (204, "DELETE", "Patient/new", None, "", {}),
        (204, "DELETE", "Patient", None, "_id=new", {}),
        (200, "GET", "metadata", None, "", {}),
    ]
    for status, method, path, body, query, headers in expected:
        given, content, _ = send(method, path, body, query, **headers)
        assert given == status, (method, path, content)
        documented = paths[matching.match(method, f"{BASE}/{path}").route.path][method.lower()]
        assert ("content" in documented["responses"][str(status)]) == (content is not None), (method, path)
        if body is not None and "content_type" in headers:
            assert headers["content_type"] in documented["requestBody"]["content"]
    of_job = paths[f"{BASE}/job/{{id}}/status"]
    assert [sorted(of_job[method]["responses"]) for method in ("get", "delete")] == [
        ["200", "202", "4XX"],
        ["202", "4XX"],
    ]


def test_a_member_that_is_no_type_is_404_and_one_outside_the_definition_400() -> None:
    assert send("GET", "Patient/pa/foo")[0] == 404
    assert send("GET", "Patient/pa/Organization")[0] == 400


def test_two_authorization_headers_are_401() -> None:
    assert send("GET", "Patient/pa", authorization="Bearer a,Bearer b")[0] == 401


def test_a_byte_order_mark_and_x_gzip() -> None:
    import gzip

    body = b"\xef\xbb\xbf" + json.dumps(PATIENT).encode()
    assert send("PUT", "Patient/pa", body)[0] == 200
    assert send("PUT", "Patient/pa", gzip.compress(body), content_encoding="x-gzip")[0] == 200


def test_if_none_exist_in_utf_8() -> None:
    resource = {"resourceType": "Patient", "identifier": [{"value": "Überx1"}]}
    as_latin_1 = "identifier=Überx1".encode().decode("latin-1")
    assert send("POST", "Patient", resource, if_none_exist=as_latin_1)[0] == 201
    for header in (as_latin_1, "identifier=%C3%9Cberx1"):
        assert send("POST", "Patient", resource, if_none_exist=header)[0] == 200
    assert send("POST", "Patient", resource, if_none_exist="identifier=\xdcb")[0] == 400


def test_entries_of_any_kind_in_a_batch() -> None:
    answered = batch(
        entry("GET", "metadata"),
        entry("GET", "?_type=Patient&_id=pa"),
        entry("POST", "Patient/$validate", {"resourceType": "Patient"}),
        entry("POST", "Patient/pa/$set-accounts", {"resourceType": "Parameters", "parameter": []}),
        entry("POST", "Patient/_search?_id=pa"),
        entry("GET", "Patient/pa/"),
        entry("GET", "Patient/pa/%24everything"),
        entry("POST", "Patient", {"resourceType": "Patient"}),
        entry("POST", "$upload"),
        entry("GET", "Patient/pa/$no"),
    )
    statuses = [each["response"]["status"][:3] for each in answered]
    assert statuses == ["200"] * 7 + ["201", "400", "404"]
    assert answered[0]["resource"]["resourceType"] == "CapabilityStatement"
    assert len(answered[1]["resource"]["entry"]) == 1


def test_a_transaction_takes_operations_that_do_not_write() -> None:
    validate = entry("POST", "Patient/$validate", PATIENT)
    answered = batch(
        validate, entry("GET", "metadata"), entry("PUT", "Patient/pb", PATIENT | {"id": "pb"}), kind="transaction"
    )
    assert [each["response"]["status"][:3] for each in answered] == ["200", "200", "201"]
    operation = entry("POST", "Patient/pa/$set-accounts", {"resourceType": "Parameters"})
    given = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [entry("PUT", "Patient/pc", PATIENT | {"id": "pc"}), operation],
    }
    status, made, _ = send("POST", "", given)
    assert (status, made["issue"][0]["expression"]) == (400, ["Bundle.entry[1].request.url"])
    assert send("GET", "Patient/pc")[0] == 404


@pytest.mark.parametrize("resource", [{}, {"a": 1}, {"resourceType": 7}, [], "x", None])
def test_a_patch_entry_without_resource_type_fails_alone(resource: Any) -> None:
    answered = batch(entry("PATCH", "Patient/pa", resource), entry("GET", "Patient/pa"))
    assert [each["response"]["status"][:3] for each in answered] == ["400", "200"]


def test_a_get_entry_decides_each_transaction_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scopes = []
    perform = router.perform

    def seen(request: Any) -> Any:
        scopes.append(transactions.once_a_request("x", object) is transactions.once_a_request("x", object))
        return perform(request)

    monkeypatch.setattr(router, "perform", seen)
    batch(entry("GET", "Patient/pa"), entry("GET", "Patient/pa"))
    assert scopes == [True, True, True]


def reads(store: Store) -> int:
    found = [store.read(moment.key) for moment in store.by_time("AuditEvent")]
    return sum(store.decode(head)["action"] == "R" for head in found if head)


@pytest.mark.parametrize(
    "show",
    [
        lambda: send("PATCH", "List/l", [], content_type="application/json-patch+json"),
        lambda: send("PATCH", "List/l", {}, content_type="application/merge-patch+json"),
        lambda: send("PUT", "List/l", LIST),
        lambda: send("POST", "List", LIST, if_none_exist="subject=Patient/pa"),
        lambda: batch(entry("PUT", "List/l", LIST), **REPRESENTATION),
        lambda: batch(entry("PUT", "List/l", LIST), kind="transaction", **REPRESENTATION),
        lambda: batch(entry("GET", "List/l")),
    ],
)
def test_what_shows_an_audited_type_and_changes_nothing_is_recorded(store: Store, show: Any) -> None:
    assert send("PUT", "List/l", LIST)[0] == 201
    assert reads(store) == 0
    show()
    assert reads(store) == 1


def test_a_read_function_loads_no_search_and_no_bundles() -> None:
    program = "import sys, functions.resources.handler; print([m for m in sys.modules if m.startswith(('bulkhead.search.run', 'bulkhead.search.plan', 'bulkhead.bundles', 'infra'))])"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert run.stdout.strip() == b"[]"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "Patient/pa", 200),
        ("HEAD", "Patient/pa", 200),
        ("GET", "Patient", 200),
        ("GET", "Patient/pa/_history/1", 200),
        ("GET", "Patient/pa/$everything", 200),
        ("GET", "job", 200),
        ("GET", "Patient/nobody", 404),
        ("GET", "Patient/pa/$nothing", 404),
        ("PUT", "Patient/pa", 400),
    ],
)
def test_no_cache_keeps_what_one_token_was_answered(method: str, path: str, status: int) -> None:
    found, _, headers = send(method, path)
    assert (found, headers["cache-control"], headers["x-content-type-options"]) == (status, "no-store", "nosniff")


def test_no_cache_keeps_that_nothing_has_changed() -> None:
    status, _, headers = send("GET", "Patient/pa", if_none_match='W/"1"')
    assert (status, headers["etag"], headers["cache-control"]) == (304, 'W/"1"', "no-store")


@pytest.mark.parametrize("path", ["metadata", f"OperationDefinition/{OPERATION_DEFINITIONS[0]}"])
def test_what_is_the_same_for_everybody_may_be_kept(path: str) -> None:
    assert send("GET", path)[2]["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize(
    ("prefer", "is_shown"),
    [
        ("return=minimal, return=representation", False),
        ("return=representation; return=minimal", True),
        ("handling=lenient, return=minimal", False),
    ],
)
def test_of_a_preference_that_is_given_twice_the_first_counts(prefer: str, is_shown: bool) -> None:
    status, shown, _ = send("PUT", "Patient/pa", {**PATIENT, "active": True}, prefer=prefer)
    assert (status, shown is not None) == (200, is_shown)
