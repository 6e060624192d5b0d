"""The list of licences is that of the packages."""

from __future__ import annotations

from infra import console_assets, licences, lock


def test_the_page_is_up_to_date() -> None:
    assert licences.PAGE.read_text() == licences.page(), "run make licences"


def test_what_is_deployed_and_serves_asks_for_its_notice_only() -> None:
    kinds = ("MIT", "Apache", "BSD", "PSF")
    for path in lock.LISTS[:3]:
        for name, _ in lock.pins(path.read_text()):
            assert any(kind in licences.licence(name) for kind in kinds), name
    copied = {name: licence for name, _, licence in licences.npm_packages() if name in console_assets.COPIED}
    assert set(copied) == set(console_assets.COPIED)
    assert all(any(kind in licence for kind in kinds) for licence in copied.values()), copied
