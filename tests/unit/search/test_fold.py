import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.facts.normalise import fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("  Ångström\tLee ", "angstrom lee"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("Nguyễn", "nguyen"),
        ("İstanbul", "istanbul"),
        ("\ufb01n", "fin"),
        ("", ""),
    ],
)
def test_case_accents_and_white_space_do_not_count(text: str, folded: str) -> None:
    assert fold(text) == folded


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(codec="latin-1")))
def test_upper_and_lower_case_fold_to_the_same(text: str) -> None:
    assert fold(text.upper()) == fold(text.lower())
