"""In which language texts are written."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W\d_]{2,}")
_SCRIPTS = {
    "ja": re.compile("[\u3040-\u30ff]"),
    "ko": re.compile("[\uac00-\ud7af]"),
    "zh": re.compile("[\u4e00-\u9fff]"),
    "ru": re.compile("[\u0400-\u04ff]"),
    "el": re.compile("[\u0370-\u03ff]"),
    "ar": re.compile("[\u0600-\u06ff]"),
    "he": re.compile("[\u0590-\u05ff]"),
    "th": re.compile("[\u0e00-\u0e7f]"),
    "hi": re.compile("[\u0900-\u097f]"),
}
_FUNCTION_WORDS = {
    "en": "the and of to in a is with for on that by from his her an",
    "de": "der die das und von mit für ein eine ist im den des zu auf",
    "fr": "le la les et de des du un une est dans pour avec sur au",
    "es": "el la los las y de del un una es en con para por que",
    "it": "il lo la gli e di del un una è in con per che nel",
    "pt": "o os as e de do da um uma é em com para que no",
    "nl": "de het een en van met voor is in op dat te zijn aan bij",
}


def language_of(texts: Sequence[str]) -> str:
    """Two letters of the language that most of the texts are written in, by script, else by function words; or ""."""
    joined = " ".join(texts)[:200_000]
    letters = sum(sign.isalpha() for sign in joined)
    if not letters:
        return ""
    for language, script in _SCRIPTS.items():
        if len(script.findall(joined)) > 0.2 * letters:
            return language
    words = [word.casefold() for word in _WORD.findall(joined)]
    known = {language: frozenset(function.split()) for language, function in _FUNCTION_WORDS.items()}
    counts = {language: sum(word in function for word in words) for language, function in known.items()}
    best, second = sorted(counts, key=lambda language: -counts[language])[:2]
    enough = counts[best] >= max(5, 0.02 * len(words)) and counts[best] > 1.15 * counts[second]
    return best if enough else ""
