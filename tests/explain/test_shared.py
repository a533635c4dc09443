"""What items share stands in the catalog, letter by letter."""

import polars as pl

from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog
from recllm.explain.evidence import SharedAttribute
from recllm.explain.policy import ExplanationConfig
from recllm.explain.shared import SharedText

ROWS = [
    ("a", "Red retrospot mug", "Kitchen|Gifts", "England"),
    ("b", "Large RED RETROSPOT bag", "Gifts|Bags", "France"),
    ("c", "Blue mug of the sea", "kitchen", "England"),
    ("d", "Bag of the day", "Bags", "Spain"),
]
FILLING = [(f"f{row}", f"filling {row} of the shop", "Everything", "World") for row in range(60)]


def catalog() -> Catalog:
    frame = pl.DataFrame(ROWS + FILLING, schema=["item_id", "title", "categories", "country"], orient="row")
    return Catalog.from_frame(frame)


def shared(item: int, cited: list[int], **config: object) -> tuple[SharedAttribute, ...]:
    return SharedText(Attributes(catalog()), ExplanationConfig(**config)).of(item, cited)  # type: ignore[arg-type]


def text_at(items: Catalog, item_id: str, field: str, entry: int | None, start: int, end: int) -> str:
    value = items.frame[field][items.item_ids.index(item_id)]
    return (value if entry is None else value[entry])[start:end]


def test_columns_first_by_how_many_share_it_then_title_words() -> None:
    found = shared(0, [1, 2])
    assert [(one.kind, one.value, one.item_ids) for one in found] == [
        ("categories", "Kitchen", ("c",)),
        ("categories", "Gifts", ("b",)),
        ("title", "Red retrospot", ("b",)),
    ]


def test_spans_stand_in_the_catalog() -> None:
    items = catalog()
    for one in shared(0, [1, 2]):
        texts = [text_at(items, s.item_id, s.field, s.entry, s.start, s.end) for s in one.spans]
        assert texts[0] == one.value
        assert [text.casefold() for text in texts] == [one.value.casefold()] * len(texts)
        assert [s.item_id for s in one.spans] == ["a", *one.item_ids]


def test_common_words_and_values_are_not_worth_mention() -> None:
    # "of the" is in every title of the shop, and "Everything" on most items.
    assert [(one.kind, one.value) for one in shared(3, [2])] == []
    assert [one.value for one in shared(4, [5])] == []


def test_what_stands_between_words_is_shared_too() -> None:
    titles = ["iShares € Highyield Bond", "iShares $ Highyield Bond", *(f"Fund {row}" for row in range(40))]
    frame = pl.DataFrame({"item_id": [str(row) for row in range(42)], "title": titles})
    text = SharedText(Attributes(Catalog.from_frame(frame)), ExplanationConfig())
    assert [one.value for one in text.of(0, [1])] == ["Highyield Bond"]


def test_nothing_shared() -> None:
    assert shared(0, [3]) == ()
    assert shared(0, []) == ()


def test_forbidden_values_are_not_named() -> None:
    assert [one.value for one in shared(0, [1], never_cite=("gifts", "red retrospot"))] == []
