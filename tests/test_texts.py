"""Plain text is one line, hides nothing, and loses nothing that scripts and emoji need."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from recllm.texts import clean_text


@given(st.text())
def test_clean_text_is_one_visible_line(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    assert len(cleaned.splitlines()) <= 1
    assert {unicodedata.category(letter) for letter in cleaned}.isdisjoint({"Cc", "Cs", "Zl", "Zp"})


def test_clean_text_keeps_emoji_and_scripts_and_drops_what_hides() -> None:
    family, persian = "👨\u200d👩\u200d👧", "می\u200cخواهم"
    assert clean_text(f" {family}\t\n{persian} ") == f"{family} {persian}"
    assert clean_text("a\u202eb\u2066c\u200bd\ufeffe\x00f\x1b[31mg\U000e0041h\ud800i") == "abcdef[31mghi"
