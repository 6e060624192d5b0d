"""How names sound, for the parameter `phonetic`: American Soundex after folding, with the first letter coded by its sound, too.

So Smyth sounds like Smith, Catherine like Kathryn, Meyer like Maier. A word in another script than the Latin stands for itself.
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
# What a word begins with -> the letter that it sounds like. The first that fits.
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
    """The codes of all words of some names, however their punctuation is read."""
    return frozenset(sound(word) for text in texts for spelling in spellings(text) for word in spelling.split())


def sound(word: str) -> str:
    """`"smyth"` -> `"s530"`: of a folded word."""
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
        # What h and w stand between counts as neighbours; a vowel parts it.
        if letter not in "hw":
            last = code
    return (word[0] + "".join(map(str, digits)) + "000")[:LENGTH]
