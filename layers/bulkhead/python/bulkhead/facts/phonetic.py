"""The sound of names, for the parameter `phonetic`: American Soundex after folding, where the first letter is coded by sound too.

So Smyth sounds like Smith, Catherine like Kathryn, Meyer like Maier. A word in a script other than Latin is its own code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bulkhead.facts.normalise import spellings
from bulkhead.fhir.definitions import SearchParameter

LENGTH = 4
_CODES = {
    letter: digit
    for digit, letters in enumerate(("bfpv", "cgjkqsxz", "dt", "l", "mn", "r"), start=1)
    for letter in letters
}
_LATIN = re.compile("[a-z]+")
# The beginning of a word -> the letter that it sounds like. The first match counts.
_BEGINNINGS = tuple(
    (re.compile(pattern), letter)
    for pattern, letter in (
        ("[kgp]n", "n"),
        ("wr", "r"),
        ("wh", "w"),
        ("ph", "f"),
        ("ps|sch|c(?=[eiy])|[xz]", "s"),
        ("[cq]", "k"),
        ("g(?=[eiy])", "j"),
    )
)


def is_phonetic(parameter: SearchParameter) -> bool:
    """Whether a parameter is R4's `phonetic` of some type."""
    return parameter.code == "phonetic" and parameter.url.startswith("http://hl7.org/fhir/SearchParameter/")


def sounds(texts: Iterable[str]) -> frozenset[str]:
    """The codes of all words in some names, for each reading of their punctuation."""
    return frozenset(sound(word) for text in texts for spelling in spellings(text) for word in spelling.split())


def sound(word: str) -> str:
    """The code of a folded word: `"smyth"` -> `"s530"`."""
    if not _LATIN.fullmatch(word):
        return word
    for pattern, letter in _BEGINNINGS:
        if beginning := pattern.match(word):
            word = letter + word[beginning.end() :]
            break
    digits: list[int] = []
    last = _CODES.get(word[0])
    for letter in word[1:]:
        code = _CODES.get(letter)
        if code is not None and code != last:
            digits.append(code)
        # Letters on both sides of h and w count as neighbours; a vowel separates them.
        if letter not in "hw":
            last = code
    return (word[0] + "".join(map(str, digits)) + "000")[:LENGTH]
