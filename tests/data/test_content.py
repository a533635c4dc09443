"""Texts under other names are found and said; columns that nobody reads are listed."""

import polars as pl
import pytest

from recllm.data import Catalog, content
from recllm.prompting import items

PLOTS = [
    "A retired thief is asked for one last favour, and everything goes wrong at once.",
    "Two sisters inherit a lighthouse that has not been lit for thirty years or more.",
    "The only honest man of the town stands for mayor, to the horror of his own family.",
]
ITEMS = {"item_id": ["a", "b", "c"], "title": ["One", "Two", "Three"]}


@pytest.mark.parametrize(
    "name", ["introduction", "Overview", "synopsis", "body", "product_description", "Introduction Text", "x7", "résumé"]
)
def test_a_long_text_is_the_text_under_any_name(name: str) -> None:
    catalog = Catalog.from_frame(pl.DataFrame(ITEMS | {"brand": ["x", "y", "z"], name: PLOTS}))
    assert catalog.texts == PLOTS
    assert catalog.report.columns["text"] == name
    assert f"text <- {name!r}" in str(catalog.report)
    assert catalog.frame["brand"].to_list() == ["x", "y", "z"]


def test_a_guess_is_said_and_a_name_is_none() -> None:
    guessed = Catalog.from_frame(pl.DataFrame(ITEMS | {"x7": PLOTS})).report.notes
    assert any(note.startswith("column 'x7' holds long texts and was taken as text") for note in guessed)
    assert not any(
        "was taken" in note for note in Catalog.from_frame(pl.DataFrame(ITEMS | {"body": PLOTS})).report.notes
    )


@pytest.mark.parametrize(
    "values",
    [
        ["https://shop.example/pictures/of/the/first/thing/that/we/ever/sold.jpg"] * 3,
        [f"https://shop.example/pictures/of/the/first/thing/that/we/ever/sold/{n}.jpg" for n in range(3)],
        [PLOTS[0]] * 3,
        ["short text", "short", "also short"],
        ['[{"id": 1, "name": "a long list of records that is no text at all"}]'] * 3,
        ["a" * 200, "b" * 200, "c" * 200],
    ],
)
def test_what_is_no_free_text_is_not_taken(values: list[str]) -> None:
    catalog = Catalog.from_frame(pl.DataFrame(ITEMS | {"x7": values}))
    assert catalog.frame["text"].to_list() == ["", "", ""]
    assert "text" not in catalog.report.columns


def test_the_longest_of_several_texts_is_taken_and_the_others_are_listed() -> None:
    longer = [plot + " " + plot for plot in PLOTS]
    links = [f"https://shop.example/{n}.jpg" for n in range(3)]
    columns = {"brief": PLOTS, "story": longer, "extra_story": longer[::-1], "picture": links, "note": [None] * 3}
    catalog = Catalog.from_frame(pl.DataFrame(ITEMS | columns | {"brand": ["x", "y", "z"], "price": [1, 2, 3]}))
    assert catalog.texts == longer
    listed = next(note for note in catalog.report.notes if note.startswith("kept for filters"))
    assert "'extra_story' (longer than 120 characters)" in listed
    assert "'picture' (links)" in listed
    assert "'note' (empty)" in listed
    assert not any(repr(name) in listed for name in ("brand", "price", "brief", "title"))
    assert catalog.frame["extra_story"].to_list() == longer[::-1]


def test_the_listed_columns_are_those_that_item_prompts_leave_out() -> None:
    values = {
        "long": "w " * 61,
        "fits": "w" * 120,
        "link": "http://a.example",
        "moods": ["x"] * 60,
        "vector": [0.5] * 50,
    }
    fields = {"item_id": "a", "title": "t", **values}
    used = {line.partition(":")[0] for line in items.item_values(fields)["attributes"]}
    frame = pl.DataFrame({name: [value] for name, value in fields.items()})
    assert used == {"fits"}
    assert {line.split("'")[1] for line in content.unread(frame, ["item_id", "title"])} == set(values) - used
