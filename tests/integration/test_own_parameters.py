"""Compartments over the project's own SearchParameters, over HTTP: in force at once for what was there before. Semantics, sections 1 to 3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bulkhead.compartments import propagation
from bulkhead.store import Store, index, keys, layout
from bulkhead.store.table import key_of
from tests.integration.test_explain_access import decisions, explained, parts
from tests.integration.test_sharing import A, B
from tests.support.door import Door
from tests.unit.compartments.test_compartment_definitions import definition
from tests.unit.store.test_integrity import check

Json = dict[str, Any]
OWNER = "http://x.example/owner"
STUDY = "ResearchStudy/s"


def parameter(code: str, base: str, expression: str, *targets: str, **more: Any) -> Json:
    made: Json = {"resourceType": "SearchParameter", "id": more.pop("id", code), "code": code, "base": [base]}
    made |= {"url": f"http://x.example/{made['id']}", "name": "x", "description": "x", "status": "active"}
    return made | {"type": "reference", "expression": expression, "target": list(targets), **more}


FUNDED = parameter("funded-by", "Procedure", f"Procedure.extension('{OWNER}').value", "ResearchStudy")
OVER_STUDY = definition("study", "ResearchStudy", Procedure=["funded-by"], RiskAssessment=["about-study"])
ABOUT = parameter("about-study", "RiskAssessment", "RiskAssessment.basis", "ResearchStudy", "Condition")


def procedure(name: str, *owners: str, **more: Any) -> Json:
    made: Json = {"resourceType": "Procedure", "id": name, "status": "completed", "subject": {"reference": "Patient/p"}}
    extension = [{"url": OWNER, "valueReference": {"reference": owner}} for owner in owners]
    return made | ({"extension": extension} if extension else {}) | more


class Site:
    """Two organisations, a patient, a study, and procedures that name the study only in an extension."""

    def __init__(self, door: Door) -> None:
        self.door, self.store = door, door.store
        self.admin = door.client()
        # It points at the study, and not through the parameter.
        extension = [{"url": "http://x.example/other", "valueReference": {"reference": STUDY}}]
        self.send(
            {"resourceType": "Organization", "id": "a", "name": "a"},
            {"resourceType": "Organization", "id": "b", "name": "b"},
            {"resourceType": "Patient", "id": "p"},
            {"resourceType": "ResearchStudy", "id": "s", "status": "active"},
            {"resourceType": "ResearchStudy", "id": "t", "status": "active"},
            procedure("in", STUDY),
            procedure("both", STUDY, "ResearchStudy/t"),
            procedure("other", "ResearchStudy/t"),
            procedure("report", extension=extension),
        )

    def send(self, *made: Json) -> None:
        """All at once."""
        entries = [
            {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}} for one in made
        ]
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = self.admin.post("", json=bundle)
        assert answer.status_code == 200, answer.text

    def put(self, resource: Json, status: int | None = None) -> httpx.Response:
        answer = self.admin.put(f"{resource['resourceType']}/{resource['id']}", json=resource)
        assert answer.status_code == status or (status is None and answer.is_success), answer.text
        return answer

    def define(self) -> None:
        self.send(FUNDED, ABOUT, OVER_STUDY)

    def share(self, target: str, *accounts: str, client: httpx.Client | None = None, **more: Any) -> httpx.Response:
        given: list[Json] = [{"name": "accounts", "valueReference": {"reference": account}} for account in accounts]
        given += [{"name": "propagate", "valueBoolean": True}, *more.pop("parameters", [])]
        body = {"resourceType": "Parameters", "parameter": given}
        return (client or self.admin).post(f"{target}/$set-accounts", json=body, **more)

    def accounts(self, key: str) -> list[str]:
        meta = self.admin.get(key).json()["meta"]
        return [account["reference"] for account in meta.get("accounts", [])]

    def found(self, path: str, client: httpx.Client | None = None) -> list[str]:
        answer = (client or self.admin).get(path)
        assert answer.status_code == 200, answer.text
        return keys_of(answer)


def keys_of(answer: httpx.Response) -> list[str]:
    found = [entry["resource"] for entry in answer.json().get("entry", [])]
    return sorted(f"{one['resourceType']}/{one['id']}" for one in found if one["resourceType"] != "OperationOutcome")


@pytest.fixture
def site(make_store: Any, keys_folder: Path) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        # Nobody else writes: what only points at a target need not be looked at again a second later.
        patch.setattr(propagation, "_SECOND_LOOKS", (0.0,))
        store = make_store(history_settle=0, propagation_settle=0, audit="off", definitions_ttl=0)
        yield Site(Door(store, keys_folder, patch))


def test_what_was_there_before_is_a_member_at_once(site: Site) -> None:
    site.define()
    members = ["Procedure/both", "Procedure/in"]
    assert site.found(f"{STUDY}/Procedure") == members
    assert site.found(f"{STUDY}/*") == members
    assert site.found(f"{STUDY}/Procedure?status=completed&_sort=-_lastUpdated") == members
    assert site.found(f"{STUDY}/RiskAssessment") == []
    assert site.found(f"Procedure?_compartment={STUDY}") == members
    assert site.admin.get(f"{STUDY}/Observation").status_code == 400
    shown = site.admin.get("Procedure/both").json()["meta"]["compartment"]
    assert {"reference": STUDY} in shown
    assert {"reference": STUDY} not in site.admin.get("Procedure/report").json()["meta"]["compartment"]
    # By an element of R4 that no parameter of R4 leads to.
    risk = {"resourceType": "RiskAssessment", "id": "r", "status": "final", "subject": {"reference": "Patient/p"}}
    site.put(risk | {"basis": [{"reference": STUDY}]})
    assert site.found(f"{STUDY}/*") == [*members, "RiskAssessment/r"]


def test_accounts_reach_members_and_leave_them(site: Site) -> None:
    site.define()
    clinic = site.door.client(accounts=[A])
    counted = site.share(STUDY, A, parameters=[{"name": "preview", "valueBoolean": True}])
    assert counted.status_code == 200
    assert '"valueInteger": 3' in counted.text or '"valueInteger":3' in counted.text
    assert site.share(STUDY, A).json()["parameter"][0]["valueInteger"] == 3
    assert [site.accounts(f"Procedure/{name}") for name in ("in", "both", "other", "report")] == [[A], [A], [], []]
    assert site.found("Procedure", clinic) == ["Procedure/both", "Procedure/in"]
    # What is written later inherits, and what leaves the compartment loses.
    site.put(procedure("new", STUDY))
    assert site.accounts("Procedure/new") == [A]
    site.put(procedure("in", "ResearchStudy/t"))
    assert site.accounts("Procedure/in") == []
    assert site.share(STUDY).json()["parameter"][0]["valueInteger"] == 3
    assert [site.accounts(f"Procedure/{name}") for name in ("new", "both")] == [[], []]


def test_it_is_explained_by_the_parameter(site: Site) -> None:
    site.define()
    site.share(STUDY, A)
    body = explained(site.admin, "Procedure/both", accounts=A)
    assert {one["compartment"][0]: one["through"] for one in parts(body, "compartment")} == {
        "Patient/p": ["patient"],
        STUDY: ["funded-by"],
        "ResearchStudy/t": ["funded-by"],
    }
    [account] = parts(body, "account")
    assert account["source"][0]["through"] == "funded-by"
    assert decisions(body)["read"] == (True, "account")
    assert decisions(explained(site.admin, "Procedure/report", accounts=A))["read"] == (False, "no-account")


def test_a_patients_fence_follows_it_too(site: Site) -> None:
    """CompartmentDefinition/Patient may be replaced: what its parameters lead to is in the chart, for the app and for who writes."""
    linked = parameter("linked", "Basic", f"Basic.extension('{OWNER}').value", "Patient")
    site.put({"resourceType": "Basic", "id": "b", "code": {"text": "x"}, "extension": [
        {"url": OWNER, "valueReference": {"reference": "Patient/p"}}]})  # fmt: skip
    app = site.door.client("patient/*.rs", patient="p")
    assert app.get("Basic/b").status_code == 404
    site.put(linked)
    site.put(definition("Patient", "Patient", Basic=["linked"], Procedure=["patient"]))
    assert app.get("Basic/b").status_code == 200
    assert site.found("Basic", app) == ["Basic/b"]
    assert site.found("Patient/p/Basic?code:text=x") == ["Basic/b"]
    site.share("Patient/p", A)
    assert site.accounts("Basic/b") == [A]
    # Nobody links a record to a patient whom they do not see.
    stranger = site.door.client(accounts=[B])
    planted = {"resourceType": "Basic", "code": {"text": "x"}, "extension": [
        {"url": OWNER, "valueReference": {"reference": "Patient/p"}}]}  # fmt: skip
    refused = stranger.post("Basic", json=planted)
    assert refused.status_code == 422
    assert refused.json()["issue"][0]["expression"] == ["Basic.extension[0].value"]
    everything = keys_of(site.admin.get("Patient/p/$everything"))
    assert "Basic/b" in everything


def test_a_coded_search_in_a_patients_compartment_finds_what_only_its_own_parameter_leads_to(site: Site) -> None:
    """Index entries by patient and code exist for what R4's parameters lead to: they do not lead such a search."""
    site.put(parameter("mentions", "Observation", f"Observation.extension('{OWNER}').value", "Patient"))
    site.put(definition("Patient", "Patient", Observation=["mentions", "subject"]))
    code = {"coding": [{"system": "http://loinc.org", "code": "1"}]}
    for name, content in (
        ("m", {"extension": [{"url": OWNER, "valueReference": {"reference": "Patient/p"}}]}),
        ("s", {"subject": {"reference": "Patient/p"}}),
    ):
        site.put({"resourceType": "Observation", "id": name, "status": "final", "code": code,
            "effectiveDateTime": "2020-01-02", **content})  # fmt: skip
    both = ["Observation/m", "Observation/s"]
    for query in ("", "code=1", "code=1&_sort=-date", "date=ge2020", "_sort=date", "code=http://loinc.org|1"):
        assert site.found(f"Patient/p/Observation?{query}") == both, query


def test_a_definition_over_what_is_not_in_force_is_refused_with_the_place(site: Site) -> None:
    answer = site.put(OVER_STUDY, 422).json()
    assert [one["expression"] for one in answer["issue"]] == [
        ["CompartmentDefinition.resource[0].param[0]"],
        ["CompartmentDefinition.resource[1].param[0]"],
    ]
    assert "no SearchParameter that is in force for everybody defines it" in answer["issue"][0]["diagnostics"]
    for wrong, reason in (
        (FUNDED | {"target": ["Group"]}, "does not refer to resources of the type ResearchStudy"),
        (FUNDED | {"type": "token"}, "is not a reference"),
        (FUNDED | {"expression": "Procedure.status"}, "does not hold references"),
        (FUNDED | {"expression": "Procedure.status.matches('x')"}, "is not supported"),
        (FUNDED | {"status": "draft"}, "no SearchParameter"),
        (FUNDED | {"base": ["Goal"]}, "no SearchParameter"),
    ):
        site.put(wrong)
        refused = site.put(definition("study", "ResearchStudy", Procedure=["funded-by"]), 422)
        assert reason in refused.json()["issue"][0]["diagnostics"]
        report = site.admin.post(
            "CompartmentDefinition/$validate", json=definition("study", "ResearchStudy", Procedure=["funded-by"])
        )
        assert reason in report.text


def test_a_tenants_own_parameter_defines_nothing(site: Site) -> None:
    tenant = site.door.client(accounts=[A])
    site.share(STUDY, A)
    assert tenant.put("SearchParameter/funded-by", json=FUNDED).status_code == 201
    assert site.put(definition("study", "ResearchStudy", Procedure=["funded-by"]), 422)
    assert tenant.put("CompartmentDefinition/study", json=OVER_STUDY).status_code == 403
    # An unfenced caller's, which has an account, is not in force for everybody either.
    site.put(ABOUT)
    site.admin.post("SearchParameter/about-study/$set-accounts", json={"resourceType": "Parameters", "parameter": [
        {"name": "accounts", "valueReference": {"reference": A}}]})  # fmt: skip
    assert site.put(definition("study", "ResearchStudy", RiskAssessment=["about-study"]), 422)


def test_a_parameter_that_a_definition_names_stays_in_force(site: Site) -> None:
    url = "SearchParameter/funded-by"
    account = {"resourceType": "Parameters", "parameter": [{"name": "accounts", "valueReference": {"reference": A}}]}
    headers = {"content-type": "application/json-patch+json"}
    retired = '[{"op": "replace", "path": "/status", "value": "retired"}]'
    changes: dict[str, Callable[[], httpx.Response]] = {
        "delete": lambda: site.admin.delete(url),
        "retire": lambda: site.admin.put(url, json=FUNDED | {"status": "retired"}),
        "target": lambda: site.admin.put(url, json=FUNDED | {"target": ["Group"]}),
        "expression": lambda: site.admin.put(url, json=FUNDED | {"expression": "Procedure.status"}),
        "code": lambda: site.admin.put(url, json=FUNDED | {"code": "x"}),
        "account": lambda: site.admin.post(f"{url}/$set-accounts", json=account),
        "patch": lambda: site.admin.patch(url, content=retired, headers=headers),
    }
    for name, change in changes.items():
        site.define()
        refused = change()
        assert refused.status_code == 409, name
        assert "CompartmentDefinition/study names funded-by of Procedure" in refused.text
        assert site.found(f"{STUDY}/Procedure") == ["Procedure/both", "Procedure/in"]
        site.put(OVER_STUDY | {"status": "retired"})
        assert change().is_success, name
        assert site.put(OVER_STUDY, 422)
        site.admin.post(f"{url}/$set-accounts", json={"resourceType": "Parameters"})
    site.define()
    preview = {"name": "preview", "valueBoolean": True}
    foreseen = {**account, "parameter": [*account["parameter"], preview]}
    assert site.admin.post(f"{url}/$set-accounts", json=foreseen).status_code == 409
    assert site.admin.post(f"{url}/$set-accounts", json={**account, "parameter": [preview]}).status_code == 200


def test_a_change_that_fits_takes_effect_at_once(site: Site) -> None:
    site.define()
    site.put(FUNDED | {"expression": "Procedure.extension('http://x.example/other').value"})
    assert site.found(f"{STUDY}/Procedure") == ["Procedure/report"]
    # Another with the code and an id that comes first decides: one that does not fit is refused, one that does is taken.
    first = FUNDED | {"id": "a-first", "url": "http://x.example/a-first"}
    site.put(first | {"target": ["Group"]}, 409)
    site.put(first)
    assert site.found(f"{STUDY}/Procedure") == ["Procedure/both", "Procedure/in"]


@pytest.mark.parametrize("member", ["code", "url"])
def test_a_parameter_that_says_why_it_has_no_code_or_url_defines_nothing(site: Site, member: str) -> None:
    """R4 lets an extension stand for what is required: such a resource is kept, and fails nobody's request."""
    site.define()
    reason = {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
    absent = FUNDED | {"id": "a-first", f"_{member}": {"extension": [reason]}}
    site.put({name: value for name, value in absent.items() if name != member}, 201)
    members = ["Procedure/both", "Procedure/in"]
    assert site.found(f"{STUDY}/Procedure") == site.found(f"Procedure?funded-by={STUDY}") == members
    assert site.admin.put("SearchParameter/funded-by", json=FUNDED | {"status": "retired"}).status_code == 409


def test_one_transaction_writes_both_and_takes_both_away(site: Site) -> None:
    def entry(method: str, resource: Json) -> Json:
        request = {"request": {"method": method, "url": f"{resource['resourceType']}/{resource['id']}"}}
        return request | ({"resource": resource} if method == "PUT" else {})

    def sent(*entries: Json) -> httpx.Response:
        return site.admin.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries})

    assert sent(*(entry("PUT", one) for one in (OVER_STUDY, FUNDED, ABOUT))).status_code == 200
    assert site.found(f"{STUDY}/*") == ["Procedure/both", "Procedure/in"]
    refused = sent(entry("DELETE", FUNDED))
    assert refused.status_code == 409
    assert "Bundle.entry[0]" in refused.text
    assert sent(entry("DELETE", FUNDED), entry("DELETE", OVER_STUDY)).status_code == 200
    assert site.admin.get(f"{STUDY}/*").status_code == 400


def test_what_is_out_of_force_behind_everybodys_back_opens_nothing(site: Site) -> None:
    """Two requests at once may each pass: then the definition makes no members, and says so when it is written again."""
    site.define()
    site.store.table.write([site.store.table.update_action(("SearchParameter/funded-by", keys.HEAD), "REMOVE #free")])
    head = site.store.read("SearchParameter/funded-by")
    assert head
    site.store.table.put_many([], [("SearchParameter/funded-by", keys.HEAD)])
    assert site.found(f"{STUDY}/Procedure") == []
    assert site.share(STUDY, A).json()["parameter"][0]["valueInteger"] == 1
    assert site.accounts("Procedure/in") == []
    site.put(OVER_STUDY | {"publisher": "x"}, 422)


def test_older_tables_get_the_entries_from_the_integrity_check(site: Site) -> None:
    store: Store = site.store
    literal = [("Procedure/in", keys.entry_sort(STUDY, None)), ("Procedure/both", keys.entry_sort(STUDY, None))]
    assert all(store.table.get(key) for key in literal)
    store.table.put_many([], literal)
    store.table.put({**key_of((keys.LAYOUT, keys.HEAD)), "layout": {"N": str(layout.DATES)}})
    layout._known.pop(store.table)
    site.put(FUNDED)
    over = definition("study", "ResearchStudy", Procedure=["funded-by"])
    assert "integrity check" in site.put(over, 422).text
    assert check(store).missing == len(literal)
    site.put(over)
    assert site.found(f"{STUDY}/Procedure") == ["Procedure/both", "Procedure/in"]
    assert check(store).clean


def test_binaries_are_members_by_their_security_context(site: Site) -> None:
    for name, context in (("b", "Patient/p"), ("c", "ResearchStudy/t")):
        site.put({"resourceType": "Binary", "id": name, "contentType": "text/plain", "data": "eA==",
            "securityContext": {"reference": context}})  # fmt: skip
    assert site.admin.get("Patient/p/Binary").status_code == 400
    site.put(definition("Patient", "Patient", Binary=["Binary.securityContext"], Procedure=["subject"]))
    assert site.found("Patient/p/Binary") == ["Binary/b"]
    assert "Binary/b" in site.found("Patient/p/*")
    site.share("Patient/p", A)
    stored = site.store.read("Binary/b")
    assert stored
    assert stored.accounts == (A,)
    # By a parameter of one's own it is the same.
    site.put(parameter("context", "Binary", "Binary.securityContext", "Patient"))
    site.put(definition("Patient", "Patient", Binary=["context"]))
    assert site.found("Patient/p/*") == ["Binary/b"]


def test_a_bundle_is_no_member_by_what_it_carries(site: Site) -> None:
    site.put(parameter("within", "Bundle", "Bundle.entry.resource", "ResearchStudy"))
    refused = site.put(definition("study", "ResearchStudy", Bundle=["within"]), 422)
    assert "those of what it carries" in refused.text


def test_pages_skip_what_only_points_there(site: Site) -> None:
    site.define()
    for number in range(7):
        site.put(procedure(f"x{number}", STUDY if number % 2 else "ResearchStudy/t", extension=[
            {"url": OWNER if number % 2 else "http://x.example/other", "valueReference": {"reference": STUDY}}]))  # fmt: skip
    found: list[str] = []
    url = f"{STUDY}/*?_count=2"
    while url:
        answer = site.admin.get(url)
        found += keys_of(answer)
        url = next((link["url"] for link in answer.json()["link"] if link["relation"] == "next"), "")
    assert found == ["Procedure/both", "Procedure/in", "Procedure/x1", "Procedure/x3", "Procedure/x5"]
    assert index.Pointer("Procedure/x0", frozenset()) in site.store.pointing_at(STUDY)


def test_a_fenced_caller_takes_nothing_away_and_no_id_that_hidden_members_name(site: Site) -> None:
    site.define()
    clinic = site.door.client(accounts=[B])
    assert clinic.put("Patient/q", json={"resourceType": "Patient", "id": "q"}).status_code == 201
    theirs = procedure("theirs", STUDY, subject={"reference": "Patient/q"})
    assert clinic.put("Procedure/theirs", json=theirs).status_code == 201
    site.share(STUDY, A)
    assert site.accounts("Procedure/theirs") == [B, A]
    # A, to whom the study gave it, would lose it.
    without = {name: value for name, value in theirs.items() if name != "extension"}
    assert clinic.put("Procedure/theirs", json=without).status_code == 403
    assert clinic.put("Procedure/theirs", json=theirs | {"status": "stopped"}).status_code == 200
    assert site.accounts("Procedure/theirs") == [B, A]
    # What it names newly gives it nothing: it does not see the study.
    second = procedure("second", STUDY, subject={"reference": "Patient/q"})
    assert clinic.put("Procedure/second", json=second).status_code == 201
    assert site.accounts("Procedure/second") == [B]
    site.put(procedure("waiting", "ResearchStudy/taken"))
    site.put(procedure("pointing", extension=[
        {"url": "http://x.example/other", "valueReference": {"reference": "ResearchStudy/free"}}]))  # fmt: skip
    for name, status in (("taken", 404), ("free", 201)):
        body = {"resourceType": "ResearchStudy", "id": name, "status": "active"}
        assert clinic.put(f"ResearchStudy/{name}", json=body).status_code == status, name


def test_a_fenced_callers_own_root_reaches_what_carries_its_accounts(site: Site) -> None:
    """Nobody pulls a record out of another's fence by a study that it names."""
    site.define()
    clinic = site.door.client("system/*.cruds accounts.write", accounts=[A])
    site.put(procedure("foreign", "ResearchStudy/t"))
    for key, account in (("ResearchStudy/t", A), ("Procedure/both", A), ("Procedure/foreign", B)):
        given = {"name": "accounts", "valueReference": {"reference": account}}
        body = {"resourceType": "Parameters", "parameter": [given]}
        assert site.admin.post(f"{key}/$set-accounts", json=body).status_code == 200
    answer = site.share("ResearchStudy/t", A, client=clinic)
    assert answer.status_code == 200, answer.text
    # The study, and the one procedure that carries A from elsewhere.
    assert answer.json()["parameter"][0]["valueInteger"] == 2
    assert site.accounts("Procedure/foreign") == [B]
    assert site.accounts("Procedure/other") == []
