import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.facts.normalise import fold, spellings


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


MARKS = "a\u0301\u0316\u0f73\u0f75\u0f81\uff9e\u1faf\uac01é"


@given(st.text() | st.text(MARKS))
def test_marks_are_left_out_as_of_a_whole_text_in_nfkd(text: str) -> None:
    # An acute accent by itself is an apostrophe, though in NFKD it is a space with a mark.
    text = text.replace("\u00b4", "'")
    whole = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    assert spellings(text) == spellings(whole)


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\u0f73\u0f75"])
def test_a_name_of_marks_is_folded_one_by_one(marks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python sorts the marks of a text in a time that grows with its square, so it is never given more than one character."""
    given_to: list[int] = []

    def normalize(form: Literal["NFKD"], text: str) -> str:
        given_to.append(len(text))
        return unicodedata_normalize(form, text)

    unicodedata_normalize = unicodedata.normalize
    monkeypatch.setattr(unicodedata, "normalize", normalize)
    assert fold(f"Zoé{marks * 50}".swapcase()) == "zoe"
    assert set(given_to) <= {1}


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(codec="latin-1")))
def test_upper_and_lower_case_fold_to_the_same(text: str) -> None:
    assert fold(text.upper()) == fold(text.lower())
