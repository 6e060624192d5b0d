import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import BadRequest
from bulkhead.search import cursor
from bulkhead.search.parse import parse
from bulkhead.search.query import Query

SEARCH = parse([("name", "a"), ("_count", "5")], "Patient")
SHAPE = tuple[int, str | None]


def test_a_cursor_comes_back_and_is_fit_for_a_url() -> None:
    text = cursor.encode([3, "Ü|#?"], 7, SEARCH)
    assert text.replace("-", "").replace("_", "").isalnum()
    found = cursor.decode(text, SEARCH, SHAPE)
    assert (tuple(found.position), found.total) == ((3, "Ü|#?"), 7)


def test_the_size_of_the_page_may_change() -> None:
    other = parse([("name", "a"), ("_count", "50"), ("_include", "Patient:link")], "Patient")
    assert cursor.decode(cursor.encode([3, None], None, SEARCH), other, SHAPE).position == (3, None)


@pytest.mark.parametrize(
    "query",
    [
        parse([("name", "b")], "Patient"),
        parse([("name", "a")], "Practitioner"),
        parse([("name", "a")], "Patient", compartment="Patient/1"),
        parse([("name", "a"), ("_sort", "_id")], "Patient"),
    ],
)
def test_a_cursor_of_another_search_is_refused(query: Query) -> None:
    with pytest.raises(BadRequest) as caught:
        cursor.decode(cursor.encode([3, None], None, SEARCH), query, SHAPE)
    assert caught.value.issues[0].expression == "_cursor"


def test_a_position_of_another_shape_is_refused() -> None:
    with pytest.raises(BadRequest):
        cursor.decode(cursor.encode(["x", 1], None, SEARCH), SEARCH, SHAPE)


@given(st.integers(0), st.characters())
def test_a_cursor_with_a_letter_changed_is_refused(place: int, letter: str) -> None:
    text = cursor.encode([3, "abc"], 7, SEARCH)
    place %= len(text) - 1  # the last letter holds bits that base64 does not use
    if text[place] != letter:
        with pytest.raises(BadRequest):
            cursor.decode(text[:place] + letter + text[place + 1 :], SEARCH, SHAPE)


@given(st.text())
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        cursor.decode(text, SEARCH, SHAPE)
