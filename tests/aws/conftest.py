"""One emulated account for all tests of this folder, with Bulkhead in it. `make e2e-aws` installs the emulator; without it all skip."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.aws import emulator


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulator.Account]:
    if not emulator.PROGRAM.exists():
        pytest.skip("no emulator of AWS is installed: make e2e-aws")
    with emulator.Account(tmp_path_factory.mktemp("account")) as made:
        yield made


@pytest.fixture(scope="session")
def deployment(account: emulator.Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[emulator.Deployment]:
    """As it comes, but for smaller batches of a propagation, and with the nightly check of the whole table."""
    folder = tmp_path_factory.mktemp("template")
    with emulator.Deployment(account, folder, "Bulkhead", {"PROPAGATION_BATCH": "5", "check_segments": "3"}) as made:
        yield made
