"""Categories in any notation: a list written as text is that list, and a name that looks like syntax is a name."""

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.data import Catalog
from recllm.data.categories import DEEPEST_NOTATION, LONGEST_NOTATION, category_lists, names_in, written

WANT = ["Drama", "Sci-Fi"]


@pytest.mark.parametrize(
    "text",
    [
        "['Drama', 'Sci-Fi']",
        '["Drama", "Sci-Fi"]',
        "('Drama', 'Sci-Fi')",
        "{'Sci-Fi', 'Drama'}",
        "['Drama' 'Sci-Fi']",
        "['Drama'\n 'Sci-Fi']",
        "[['Drama'], ['Sci-Fi']]",
        "['Drama', None, '', 'Sci-Fi', 'Drama']",
        "[Drama, Sci-Fi]",
        "{Drama,Sci-Fi}",
        '{"Drama","Sci-Fi"}',
        "Drama|Sci-Fi",
        " Drama | Sci-Fi |",
        "Drama;Sci-Fi",
        "Drama, Sci-Fi",
        "Drama > Sci-Fi",
        '[{"id": 18, "name": "Drama"}, {"id": 878, "name": "Sci-Fi"}]',
        "[{'id': 18, 'name': 'Drama'}, {'id': 878, 'name': 'Sci-Fi'}]",
        '[{"Title": "Drama"}, {"label": "Sci-Fi"}]',
        '[{"id": 18, "genre": "Drama"}, {"genre": "Sci-Fi", "n": null}]',
        '[{"name": {"en": "Drama"}}, {"name": ["Sci-Fi"]}]',
    ],
)
def test_lists_written_as_text(text: str) -> None:
    assert category_lists(pl.Series([text])).to_list() == [WANT]


@pytest.mark.parametrize(
    "name",
    [
        *("Rock 'n' Roll", "Cups [glass]", "Children's books", "[glass]", "(Re)issues", "(2020)", "{x}", "[sic] & co"),
        *("'Til dawn", '12" vinyl', "Men's 'Slim' jeans", "Tom & Jerry", "AC/DC", "C:\\new", "[", "]["),
    ],
)
def test_a_name_that_looks_like_syntax_is_a_name(name: str) -> None:
    assert category_lists(pl.Series([name, "Other"])).to_list() == [[name], ["Other"]]
    assert category_lists(pl.Series([name])).to_list() == [[name]]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), max_size=5))
def test_lists_of_any_names_are_read_as_they_were_written(names: list[str]) -> None:
    wanted = list(dict.fromkeys(filter(None, map(str.strip, names))))
    if any(written(name) is not None for name in names):
        return  # a name that is itself a list
    texts = pl.Series([json.dumps(names), json.dumps(names, ensure_ascii=False), repr(names)])
    assert category_lists(texts).to_list() == [wanted] * 3


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (["Drama", ["Sci-Fi"]], WANT),
        (("Drama", "Sci-Fi"), WANT),
        ({"Sci-Fi", "Drama"}, WANT),
        (np.array(WANT), WANT),
        ([np.array(WANT[:1]), {"name": "Sci-Fi"}], WANT),
        ({"id": 3, "name": "Drama"}, ["Drama"]),
        ({"id": 3}, ["3"]),
        ([1, 2.0, True, float("nan"), None], ["1", "2", "true"]),
        ([b"Caf\xc3\xa9"], ["Café"]),
    ],
)
def test_values_of_python(value: Any, names: list[str]) -> None:
    assert names_in(value) == names


@pytest.mark.parametrize(
    "values", [[["Drama", "Sci-Fi"]], [("Drama", "Sci-Fi")], [[["Drama"], ["Sci-Fi"]]], [[{"name": n} for n in WANT]]]
)
def test_data_frames_of_lists(values: list[Any]) -> None:
    for make in (pd.DataFrame, pl.DataFrame):
        frame = make({"item_id": ["a"], "title": ["t"], "categories": values})
        assert Catalog.from_frame(frame).frame["categories"].to_list() == [WANT]


def test_a_column_has_one_separator_but_lists_may_stand_between() -> None:
    column = pl.Series(["a, b|c", "['d', 'e']", "f, g", None])
    assert category_lists(column).to_list() == [["a, b", "c"], ["d", "e"], ["f, g"], []]
    assert category_lists(pl.Series(["Arts &amp; Crafts, Toys"])).to_list() == [["Arts & Crafts", "Toys"]]
    assert category_lists(pl.Series(["a b", "c"]), space_separated=True).to_list() == [["a", "b"], ["c"]]


HOSTILE = [
    "[" * 100_000 + "]" * 100_000,
    "[" * (DEEPEST_NOTATION + 1) + "]" * (DEEPEST_NOTATION + 1),
    "(" * 5_000 + ")" * 5_000,
    "{" * 300 + "}" * 300,
    "[" + "-" * 50_000 + "1]",
    "[" + "9" * 10_000 + "]",
    "[" + "'a'," * LONGEST_NOTATION + "]",
    "[{[1]: 2}]",
    "['\\",
    "[__import__('os').system('false')]",
    "[1 if True else 2]",
    "['\\d']",
    "[1e999]",
    '["\\ud800"]',
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_hostile_texts_end_in_names_and_nothing_else(text: str) -> None:
    limit = sys.getrecursionlimit()
    found = category_lists(pl.Series([text])).to_list()
    assert isinstance(found[0], list)
    assert sys.getrecursionlimit() == limit


def test_nothing_written_is_executed(capsys: pytest.CaptureFixture[str]) -> None:
    category_lists(pl.Series(["[print('run')]", "[print('run') for _ in [1]]"]))
    assert capsys.readouterr().out == ""


def test_a_table_without_rows_has_no_categories() -> None:
    for columns in (["item_id"], ["item_id", "categories"]):
        frame = Catalog.from_frame(pl.DataFrame({name: pl.Series([], dtype=pl.String) for name in columns})).frame
        assert frame["categories"].dtype == pl.List(pl.String)
        assert frame.height == 0
