"""Folding of text for string search: case, accents and runs of white space do not count (R4 search, 3.1.1.4.8)."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """`"  Ångström\\tLee "` -> `"angstrom lee"`: NFKD, combining marks off, case folded, white space collapsed."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(character for character in decomposed if not unicodedata.combining(character))
    folded = text.casefold()
    # Case folding can bring combining marks back (U+0130, the dotted capital I).
    if not folded.isascii():
        folded = "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    return " ".join(folded.split())
