"""Which items a value or some words mean."""

import polars as pl
import pytest

from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog

CATALOG = Catalog.from_frame(
    pl.DataFrame(
        {
            "item_id": ["a", "b", "c", "d"],
            "title": ["Garden gnome", "Rose", "Energy drink", "Solar fund"],
            "text": ["stands still", "for the garden", "", "invests in energy"],
            "categories": ["Decoration", "Garden|Plants", "", "Funds"],
            "sector": ["Home", "garden", "Food", "Energy"],
            "price": [1.0, 2.0, 3.0, 4.0],
            "image_url": ["x", "x", "x", "x"],
            "story": ["", "", "", "w " * 60],
        }
    )
)


@pytest.mark.parametrize(
    ("wanted", "items"),
    [
        ("Garden", "b"),
        (" garden ", "b"),
        ("sector=Energy", "d"),
        ("sector = energy", "d"),
        ("Energy", "d"),
        ("categories=Energy", ""),
        ("gnome", "a"),
        ("energy drink", "c"),
        ("for  the garden", "b"),
        ("nergy", ""),
        ("", ""),
        ("1.0", ""),
        ("x", ""),
        (".*", ""),
    ],
)
def test_values_before_words(wanted: str, items: str) -> None:
    assert "".join(id_ for id_, has in zip("abcd", Attributes(CATALOG).items_with(wanted), strict=True) if has) == items


def test_only_short_texts_of_columns_are_attributes() -> None:
    attributes = Attributes(CATALOG)
    assert list(attributes.columns) == ["categories", "sector", "story"]
    assert list(attributes.of(1)) == [("categories", 0, "Garden"), ("categories", 1, "Plants"), ("sector", 0, "garden")]
    assert list(attributes.of(3)) == [("categories", 0, "Funds"), ("sector", 0, "Energy")]
    assert attributes.commonest[0].casefold() == "garden"
