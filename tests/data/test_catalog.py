"""The catalog: columns of other libraries, formats, text, rows."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from recllm.data import Catalog, load_demo
from recllm.errors import DataError

ITEMS = {
    "item_id": ["1", "2", "3"],
    "title": ["Tea pot", "Tea cup", ""],
    "description": ["Holds a litre.", "", "Nobody gave it a name."],
    "categories": ["kitchen|tea", "kitchen | tea|kitchen", ""],
    "price": [9.5, 3.25, 1.0],
    "stock": [3, 0, 7],
    "code": ["007", "8", "9"],
}


def csv_of(items: dict[str, list[object]], separator: str = ",") -> str:
    rows = [list(items), *zip(*items.values(), strict=True)]
    return "\n".join(separator.join(str(cell) for cell in row) for row in rows) + "\n"


def write(folder: Path, kind: str) -> Catalog:
    path = folder / f"items.{kind}"
    if kind == "csv":
        path.write_text(csv_of(ITEMS))
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(csv_of(ITEMS).encode()))
    elif kind == "tsv":
        path.write_text(csv_of(ITEMS, "\t"))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in pl.DataFrame(ITEMS).to_dicts()))
    elif kind == "parquet":
        pl.DataFrame(ITEMS).write_parquet(path)
    return Catalog.read(path)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "jsonl", "parquet"])
def test_all_formats_give_the_same_catalog(tmp_path: Path, kind: str) -> None:
    expected = Catalog.from_frame(pl.DataFrame(ITEMS))
    catalog = write(tmp_path, kind)
    assert catalog.frame.equals(expected.frame)
    assert catalog.fingerprint == expected.fingerprint
    assert catalog.report.columns == {c: c for c in ("item_id", "title")} | {
        "text": "description",
        "categories": "categories",
    }


@pytest.mark.parametrize(
    "make", [pl.DataFrame, pd.DataFrame, lambda d: pl.DataFrame(d).to_arrow(), lambda d: pl.LazyFrame(d)]
)
def test_all_frames_give_the_same_catalog(make: object) -> None:
    frame = make(ITEMS)  # type: ignore[operator]
    catalog = Catalog.from_frame(frame)
    assert catalog.frame.equals(Catalog.from_frame(pl.DataFrame(ITEMS)).frame)
    assert catalog.frame.schema == {
        "item_id": pl.String,
        "title": pl.String,
        "text": pl.String,
        "categories": pl.List(pl.String),
        "price": pl.Float64,
        "stock": pl.Int64,
        "code": pl.String,
    }


def test_inputs_are_not_changed() -> None:
    frame = pd.DataFrame(ITEMS)
    copy = frame.copy(deep=True)
    Catalog.from_frame(frame)
    pd.testing.assert_frame_equal(frame, copy)


@pytest.mark.parametrize(
    ("name", "text", "title", "body", "categories"),
    [
        (
            "gorse.csv",
            "ItemId,IsHidden,Categories,Timestamp,Labels,Comment\n1,false,a|b,2020-01-01,x,Nice\n",
            "Nice",
            "Nice",
            ["a", "b"],
        ),
        (
            "personalize.csv",
            "ITEM_ID,GENRES,CREATION_TIMESTAMP,DESCRIPTION\n1,a|b,1570003267,Nice\n",
            "Nice",
            "Nice",
            ["a", "b"],
        ),
        ("recommenders.csv", "itemID,title,genre\n1,Nice,a|b\n", "Nice", "Nice", ["a", "b"]),
        ("rectools.csv", "item_id,name,category\n1,Nice,a|b\n", "Nice", "Nice", ["a", "b"]),
        (
            "ml.item",
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n1\tNice\t1995\ta b\n",
            "Nice",
            "Nice",
            ["a", "b"],
        ),
    ],
)
def test_names_of_other_libraries(
    tmp_path: Path, name: str, text: str, title: str, body: str, categories: list[str]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    catalog = Catalog.read(path)
    assert catalog.item_ids == ("1",)
    assert (catalog.titles, catalog.texts) == ([title], [body])
    assert catalog.frame["categories"].to_list() == [categories]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a|b", "c, d", None], [["a", "b"], ["c, d"], []]),
        (["a, b", "c", ""], [["a", "b"], ["c"], []]),
        (['["Children\'s", "b"]', "['c', 'd']", " "], [["Children's", "b"], ["c", "d"], []]),
        ([["a", "b", "a"], None, [" c ", ""]], [["a", "b"], [], ["c"]]),
        ([[1, 2], [], None], [["1", "2"], [], []]),
    ],
)
def test_notations_of_categories(values: list[object], expected: list[list[str]]) -> None:
    for frame in (pl.DataFrame({"id": [1, 2, 3], "tags": values}), pd.DataFrame({"id": [1, 2, 3], "tags": values})):
        assert Catalog.from_frame(frame).frame["categories"].to_list() == expected


def test_ids_are_strings_and_look_the_same_from_all_types() -> None:
    for ids in ([1, 2], [1.0, 2.0], ["1", "2"], [1, "2"], [1.0, "2"]):
        assert Catalog.from_frame(pd.DataFrame({"item_id": ids})).item_ids == ("1", "2")
    with_gap = Catalog.from_frame(pd.DataFrame({"item_id": [1, None, 3]}))
    assert with_gap.item_ids == ("1", "3")
    assert with_gap.report.dropped == {"missing_item_id": 1}
    assert Catalog.from_frame(pl.DataFrame({"item_id": ["1.0", " 1", "1"]})).item_ids == ("1.0", " 1", "1")


def test_rows_of_known_and_unknown_ids() -> None:
    catalog = Catalog.from_frame(pl.DataFrame(ITEMS))
    rows = catalog.rows(["3", 1, "nothing", 2.0])
    assert rows.dtype == np.int64
    assert rows.tolist() == [2, 0, -1, 1]
    assert catalog.rows([]).tolist() == []
    with pytest.raises(DataError, match=r"\['12'\]"):
        catalog.rows("12")


def test_the_fields_of_an_item_for_a_prompt() -> None:
    catalog = Catalog.from_frame(pl.DataFrame(ITEMS))
    assert catalog.item(1) == {
        "item_id": "2",
        "title": "Tea cup",
        "categories": ["kitchen", "tea"],
        "price": 3.25,
        "stock": 0,
        "code": "8",
    }
    assert catalog.item(2)["title"] == "Nobody gave it a name."
    with pytest.raises(DataError, match="rows 0 to 2"):
        catalog.item(3)


def test_titles_and_texts_stand_in_for_each_other() -> None:
    frame = pl.DataFrame({"id": ["a", "b", "c"], "title": ["T", "", ""], "text": ["", "word " * 40, None]})
    catalog = Catalog.from_frame(frame)
    assert catalog.titles == ["T", ("word " * 16), "c"]
    assert catalog.texts == ["T", ("word " * 40).strip(), "c"]
    assert catalog.frame["text"].to_list() == ["", ("word " * 40).strip(), ""]


def test_control_characters_leave_the_text_but_not_the_id() -> None:
    frame = pl.DataFrame(
        {"id": ["a\x00\x1b"], "title": [" Tea \n pot\x07 "], "text": ["one\x1b[0m\r\ntwo\n\tthree\x00"]}
    )
    catalog = Catalog.from_frame(frame)
    assert catalog.item_ids == ("a\x00\x1b",)
    assert catalog.titles == ["Tea pot"]
    assert catalog.frame["text"].to_list() == ["one [0m \ntwo\n\tthree"]


def test_a_text_given_as_a_list_is_joined() -> None:
    frame = pl.DataFrame({"id": ["a", "b"], "description": [["One.", None, "Two."], None]})
    assert Catalog.from_frame(frame).frame["text"].to_list() == ["One. Two.", ""]


def test_extend_appends_unseen_items_only() -> None:
    old = Catalog.from_frame(pl.DataFrame(ITEMS))
    more = Catalog.from_frame(pl.DataFrame({"id": ["3", "4"], "title": ["other", "New"], "colour": ["red", "blue"]}))
    both = old.extend(more)
    assert both.item_ids == ("1", "2", "3", "4")
    assert both.frame.head(3).select(old.frame.columns).equals(old.frame)
    assert both.item(3)["colour"] == "blue"
    assert both.report.dropped == {"duplicate_item": 1}
    assert len(old) == 3
    assert both.fingerprint != old.fingerprint
    assert old.extend(old).fingerprint == old.fingerprint


def test_extend_keeps_every_columns_type() -> None:
    old = Catalog.from_frame(
        pl.DataFrame(
            {"id": ["a", "b"], "year": [2001, 2002], "moods": ["x", "y"], "empty": [None, None], "sizes": [["S"], []]}
        )
    )
    new = pl.DataFrame({"id": ["c"], "year": ["unknown"], "moods": [["y", "z"]], "empty": [3], "sizes": ["M"]})
    both = old.extend(Catalog.from_frame(new))
    assert both.frame["year"].to_list() == [2001, 2002, None]
    assert both.frame["moods"].to_list() == ["x", "y", "y, z"]
    assert both.frame["empty"].to_list() == [None, None, 3]
    assert both.frame["sizes"].to_list() == [["S"], [], ["M"]]
    assert both.frame.head(2).drop("empty").equals(old.frame.drop("empty"))
    assert [note.split(" that")[0] for note in both.report.notes] == ["year: 1 value is none of the whole numbers"]
    assert both.report.noticed == {"misfit_value": 1}
    assert both.report.notes[0].endswith("was left empty, for example 'unknown'")
    assert both.extend(Catalog.from_frame(pl.DataFrame({"id": ["d"], "year": ["2001"]}))).frame["year"][3] == 2001


def test_values_of_items_that_are_here_already_are_not_counted() -> None:
    old = Catalog.from_frame(pl.DataFrame({"id": ["a"], "year": [2001]}))
    assert old.extend(Catalog.from_frame(pl.DataFrame({"id": ["a"], "year": ["unknown"]}))).report.notes == ()


def test_fingerprints_see_order_and_borders() -> None:
    def of(*titles: str) -> str:
        return Catalog.from_frame(pl.DataFrame({"id": ["1", "2"], "title": list(titles)})).fingerprint

    assert len({of("ab", "c"), of("a", "bc"), of("c", "ab"), of("", "abc")}) == 4
    assert of("ab", "c") == of("ab", "c")


def test_the_caller_may_name_the_columns() -> None:
    frame = pl.DataFrame({"nr": [1], "item_id": ["not this"], "headline": ["A"], "title": ["B"]})
    catalog = Catalog.from_frame(frame, columns={"item_id": "nr", "title": "headline"})
    assert (catalog.item_ids, catalog.titles) == (("1",), ["A"])
    assert catalog.frame["title_"].to_list() == ["B"]
    with pytest.raises(DataError, match=r"no column 'nowhere'.*'nr'"):
        Catalog.from_frame(frame, columns={"item_id": "nowhere"})
    with pytest.raises(DataError, match=r"'nr' is none of item_id, title"):
        Catalog.from_frame(frame, columns={"nr": "item_id"})


def test_a_missing_id_column_is_named_with_what_was_found_and_what_would_do(tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_text("number,what\n1,tea\n")
    with pytest.raises(DataError) as caught:
        Catalog.read(path)
    for word in ("items.csv", "item_id", "'number'", "'what'", "product_id", "columns="):
        assert word in str(caught.value)


def test_a_second_candidate_is_kept_and_mentioned() -> None:
    catalog = Catalog.from_frame(pl.DataFrame({"id": ["a"], "category": ["x"], "genres": ["y"]}))
    assert catalog.frame["categories"].to_list() == [["x"]]
    assert catalog.frame["genres"].to_list() == ["y"]
    assert any("'genres'" in note for note in catalog.report.notes)


def test_a_catalog_without_any_text_says_so() -> None:
    catalog = Catalog.from_frame(pl.DataFrame({"id": ["a"], "price": [1]}))
    assert catalog.titles == ["a"]
    assert any("ids only" in note for note in catalog.report.notes)


@pytest.mark.parametrize("given", [None, 3, "items.csv", [1, 2], {"item_id": ["1"]}])
def test_what_is_no_table_is_refused(given: object) -> None:
    with pytest.raises(DataError, match="pandas, polars or pyarrow"):
        Catalog.from_frame(given)


def test_columns_that_cannot_be_ids_are_refused() -> None:
    with pytest.raises(DataError, match="List"):
        Catalog.from_frame(pl.DataFrame({"item_id": [["a"]]}))
    with pytest.raises(DataError, match="cannot be read"):
        Catalog.from_frame(pd.DataFrame([["a", "b"]], columns=["item_id", "item_id"]))


def test_the_demo_shop_is_complete() -> None:
    catalog, events = load_demo()
    assert len(catalog) == 3_852
    assert events.report.read == 396_337
    assert len(events.user_ids) == 4_334
    assert len(events.known_items(catalog)) == len(events)
    assert catalog.titles[0] == "10 colour spaceboy pen"
