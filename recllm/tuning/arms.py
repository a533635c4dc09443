"""What is tried: layouts of a catalog's columns, in a fixed order, the likely ones first."""

from collections.abc import Iterator
from typing import Any

from recllm.tuning.compose import OWN, Composed, is_ambiguous
from recllm.tuning.layout import Labels, Layout

MOST_ARMS = 32

LENGTHS = (96, 48, 24)
"""Tokens that are read of an item with a text."""


def item_layouts(composed: Composed, most: int = MOST_ARMS) -> list[Layout]:
    """Field subsets x order x labels x length, all different, the composed one first.

    Args:
        composed: What could be read of the catalog.
        most: How many.
    """
    found: dict[Layout, None] = {}
    for layout in _layouts(composed):
        found.setdefault(_plain(layout))
        if len(found) == most:
            break
    return list(found)


def _layouts(composed: Composed) -> Iterator[Layout]:
    yield composed.layout
    has = {name for name in OWN if composed.profile.full(name) > 0}
    has -= {column.name for column in composed.profile.columns if column.role == "idle"}
    further = [column for column in composed.layout.columns if column not in OWN]
    spare = [name for name in composed.left if name not in has and _readable(composed, name)][:4]

    def order(*columns: str) -> tuple[str, ...]:
        return tuple(column for column in columns if column in has or column in further or column in spare)

    orders = [
        order("categories", "title"),
        order("title", "categories"),
        order("categories", "title", "text"),
        order("title", "text"),
        order("title", "categories", "text"),
        order("title"),
        order("categories", "title", *further),
        order(*further, "categories", "title"),
        order("categories", "title", *further, "text"),
        order("title", *further, "categories", "text"),
        order("text", "title", "categories"),
        order("categories", "text"),
        order("text"),
    ]
    for columns in orders:
        yield from _styles(columns, "columns")
    for length in LENGTHS:
        for columns in orders[2:4]:
            yield from _styles(columns, "columns", length)
    for columns in orders[:5]:
        yield from _styles(columns, "none")
    for column in (*further, *spare):  # one column more, one less
        yield Layout(order("categories", column, "title"))
        if column in composed.layout.columns:
            yield Layout(tuple(name for name in composed.layout.columns if name != column))
        else:
            yield Layout(order("categories", "title", column, "text"))
    for columns in orders[5:]:
        yield from _styles(columns, "none")


def _styles(columns: tuple[str, ...], labels: Labels, length: int | None = None) -> Iterator[Layout]:
    if columns and (length is None or "text" in columns):
        yield Layout(columns, labels, length)


def _plain(layout: Layout) -> Layout:
    """Titles and texts have no labels: without other columns both styles are one."""
    bare = all(column in ("title", "text") for column in layout.columns)
    return Layout(layout.columns, "columns" if bare else layout.labels, layout.max_tokens)


def _readable(composed: Composed, name: str) -> bool:
    column: Any = composed.profile.by_name[name]
    if is_ambiguous(name, composed.profile):
        return False
    return column.role in ("value", "name") or (column.role == "number" and column.full > 0.5)
