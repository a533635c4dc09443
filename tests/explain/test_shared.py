"""What items share stands in the catalog, letter by letter."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from recllm.data.attributes import Attributes
from recllm.data.catalog import Catalog
from recllm.explain.evidence import SharedAttribute
from recllm.explain.shared import SharedText
from recllm.model.config import ExplanationConfig

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


@given(st.lists(st.sampled_from(["red", "Red", "mug", "bag", "of"]), max_size=7), st.data())
def test_titles_share_their_longest_run_of_words(ours: list[str], data: st.DataObject) -> None:
    theirs = data.draw(st.lists(st.sampled_from(["red", "mug", "bag", "of"]), max_size=7))
    joined = [" ".join(words) for words in (ours, theirs)]
    frame = pl.DataFrame({"item_id": ["a", "b"], "title": joined}).vstack(
        pl.DataFrame({"item_id": [f"f{row}" for row in range(60)], "title": [f"filling of {row}" for row in range(60)]})
    )
    found = SharedText(Attributes(Catalog.from_frame(frame)), ExplanationConfig()).of(0, [1])
    runs = [
        " ".join(ours[i : i + length])
        for length in range(len(ours), 0, -1)
        for i in range(len(ours) - length + 1)
        for j in range(len(theirs) - length + 1)
        if [word.casefold() for word in ours[i : i + length]] == theirs[j : j + length]
        and "of" not in (ours[i], ours[i + length - 1])
    ]
    assert [one.value for one in found] == runs[:1]


def test_titles_without_end_are_compared_in_no_time() -> None:
    """As many runs as pairs of words, each as long as the title: minutes, if every one of them were read."""
    titles = ["word " * 2_000, "Word " * 2_000, *(f"filling {row}" for row in range(60))]
    frame = pl.DataFrame({"item_id": [f"i{row}" for row in range(62)], "title": titles})
    (found,) = SharedText(Attributes(Catalog.from_frame(frame)), ExplanationConfig()).of(0, [1])
    assert found.value == " ".join(["word"] * 200)
