"""Random requests, crashes and late workers against a model of ten lines: who has which accounts, on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from bulkhead import propagation, resources
from bulkhead.access import EVERYBODY
from bulkhead.store import Store
from tests.integration.scene import A, B, C, Scene

PATIENTS = ("Patient/1", "Patient/2")
NAMES = tuple(f"Observation/{n}" for n in range(4))


class Accounts(RuleBasedStateMachine):
    """Random requests against a model of ten lines: own accounts by resource, and whom each observation names."""

    make: Callable[[], Store]

    def __init__(self) -> None:
        super().__init__()
        self.scene = Scene(type(self).make())
        self.scene.create(*PATIENTS)
        self.own: dict[str, tuple[str, ...]] = {}
        self.named: dict[str, tuple[str, ...]] = {}
        self.stale: set[str] = set()

    def expected(self, key: str) -> tuple[str, ...]:
        given = [self.own.get(key, ()), *(self.own.get(patient, ()) for patient in sorted(self.named[key]))]
        return tuple(dict.fromkeys(account for accounts in given for account in accounts))

    @rule(key=st.sampled_from(NAMES), named=st.lists(st.sampled_from(PATIENTS), unique=True))
    def write(self, key: str, named: list[str]) -> None:
        self.scene.put(key, performer=[{"reference": patient} for patient in named])
        self.named[key] = tuple(named)

    @rule(key=st.sampled_from(NAMES))
    def delete(self, key: str) -> None:
        resources.delete(self.scene.store, EVERYBODY, key, None)
        self.named.pop(key, None)
        self.own.pop(key, None)

    @rule(key=st.sampled_from(NAMES), accounts=st.lists(st.sampled_from((A, B, C)), unique=True))
    def own_accounts(self, key: str, accounts: list[str]) -> None:
        if key in self.named:
            self.scene.set(key, *accounts)
            self.own[key] = tuple(accounts)

    @rule(patient=st.sampled_from(PATIENTS), accounts=st.lists(st.sampled_from((A, B, C)), unique=True))
    def propagate(self, patient: str, accounts: list[str]) -> None:
        members = sum(patient in named for named in self.named.values())
        assert self.scene.set(patient, *accounts, propagate=True) == 1 + members
        self.own[patient] = tuple(accounts)
        self.stale.discard(patient)

    @rule(
        patient=st.sampled_from(PATIENTS),
        accounts=st.lists(st.sampled_from((A, B, C)), unique=True),
        reached=st.lists(st.sampled_from(NAMES)),
    )
    def run_that_dies(self, patient: str, accounts: list[str], reached: list[str]) -> None:
        """The target is changed; of the batches some were delivered, in any order, some twice."""
        self.scene.set(patient, *accounts)
        for key in reached:
            propagation.apply(self.scene.store, patient, [key])
        self.own[patient] = tuple(accounts)
        self.stale.add(patient)

    @invariant()
    def accounts_are_the_models(self) -> None:
        """Of all that no patient whose last run died has a say in."""
        certain = [key for key, named in self.named.items() if self.stale.isdisjoint(named)]
        assert {key: self.scene.accounts(key) for key in certain} == {key: self.expected(key) for key in certain}

    @precondition(lambda self: not self.stale)
    @invariant()
    def the_index_finds_who_has_an_account(self) -> None:
        for account in (A, B, C):
            expected = [key for key in self.named if account in self.expected(key)]
            expected += [patient for patient in PATIENTS if account in self.own.get(patient, ())]
            assert [pointer.source for pointer in self.scene.store.in_account(account)] == sorted(expected)


def test_accounts_follow_the_model(new_store: Any) -> None:
    Accounts.make = staticmethod(new_store)
    run_state_machine_as_test(
        Accounts,
        settings=settings(
            max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Second looks that find nobody are short here."""
    monkeypatch.setattr(propagation, "_SECOND_LOOKS", (0.01, 0.02))
