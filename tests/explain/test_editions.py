"""Duplicates and editions are one thing; volumes, years and sizes of a series are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.explain.editions import edition_groups


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Red Mug", "RED  MUG"),
        ("Café Crème", "Cafe creme"),
        ("War and Peace (Penguin Classics)", "War and Peace"),
        ("Learning Python, 5th Edition", "Learning Python"),
        ("Learning Python, Revised Expanded Edition", "Learning Python"),
        ("Abbey Road [Remastered]", "Abbey Road"),
        ("Heat - Blu-ray", "Heat (DVD)"),
        ("The Hobbit: Special Extended Edition", "The Hobbit"),
    ],
)
def test_the_same_thing(one: str, other: str) -> None:
    assert edition_groups(["x", one, "y", other]).tolist() == [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Heat (1986)", "Heat (1995)"),
        ("Star Trek II", "Star Trek III"),
        ("Candle small", "Candle large"),
        ("Edition Peters", "Peters"),
        ("", ""),
        ("***", "---"),
        ("(a)", "(b)"),
    ],
)
def test_different_things(one: str, other: str) -> None:
    assert edition_groups([one, other]).tolist() == [0, 1]


@given(st.lists(st.text(max_size=12), max_size=8))
def test_groups_are_named_by_their_first_item(titles: list[str]) -> None:
    groups = edition_groups(titles)
    assert groups.shape == (len(titles),)
    assert all(groups[group] == group <= row for row, group in enumerate(groups.tolist()))
    assert np.array_equal(
        edition_groups([title.upper().lower() for title in titles]) < len(titles), groups < len(titles)
    )
