"""Folds text for string search: case, accents, punctuation and runs of white space do not count (R4 search, 3.1.1.4.8)."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

KNOWN = 8192
"""How many characters are kept decomposed: more than any script but Chinese and Korean has."""

# Between letters an apostrophe belongs to the word: O'Connor is one word. Word processors and phones write several kinds.
_APOSTROPHES = dict.fromkeys(
    map(ord, "`\u00b4\u2018\u2019\u201a\u201b\u2032\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\uff07"), "'"
)
# ASCII signs that are not punctuation stay: + $ < = > ^ | ~
_PUNCTUATION = re.compile(r"[!-#%-*,\-./:;?@\[\\\]_{}]")


def fold(text: str) -> str:
    """`"  Ångström\\tLee-O’Neill "` -> `"angstrom lee oneill"`: the sort key, and the first of the `spellings`.

    NFKD without combining marks, case folded, without apostrophes, other punctuation as white space, which is collapsed. A text
    of punctuation alone keeps it.
    """
    plain = _plain(text)
    return _words(plain, " ") or " ".join(plain.split())


def spellings(text: str) -> tuple[str, ...]:
    """`"Smith-Jones"` -> `("smith jones", "smithjones")`: punctuation separates words or counts as nothing. Most texts have one spelling."""
    plain = _plain(text)
    bare = plain.replace("'", "") if "'" in plain else plain
    if not _PUNCTUATION.search(bare):
        return (" ".join(bare.split()) or " ".join(plain.split()),)
    parted, joined = _words(bare, " "), _words(bare, "")
    if not parted:
        return (" ".join(plain.split()),)
    return (parted,) if parted == joined else (parted, joined)


def _plain(text: str) -> str:
    """The text without case and accents, with one kind of apostrophe, and with ASCII punctuation only."""
    if text.isascii():
        return text.replace("`", "'").casefold()
    folded = _unmarked(_unmarked(text.translate(_APOSTROPHES)).casefold())
    # Case folding can bring combining marks back (U+0130, the dotted capital I).
    if folded.isascii():
        return folded
    return "".join("-" if unicodedata.category(one)[0] == "P" else one for one in folded.translate(_APOSTROPHES))


def _unmarked(text: str) -> str:
    if text.isascii():
        return text
    return "".join(map(_bare, text))


@lru_cache(KNOWN)
def _bare(character: str) -> str:
    """One character in NFKD, without combining marks.

    A whole text in NFKD has the same besides marks. But Python sorts a run of marks in a time that grows with its square, and
    lets no other thread work meanwhile: a name of 100 KB of them would hold a process for minutes.
    """
    return "".join(one for one in unicodedata.normalize("NFKD", character) if not unicodedata.combining(one))


def _words(plain: str, between: str) -> str:
    """The words of a plain text, with `between` in place of punctuation."""
    return " ".join(_PUNCTUATION.sub(between, plain.replace("'", "")).split())
