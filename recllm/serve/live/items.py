"""Items that are sent to a server: known by their texts at once, kept, and hidden where they shall be."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from recllm.data.catalog import Catalog
from recllm.errors import DataError
from recllm.serve.live.now import Now
from recllm.serve.live.taking import taken_in
from recllm.serve.state.records import ItemRecord
from recllm.serve.state.store import Store


def catalog_of(records: Sequence[ItemRecord]) -> Catalog:
    """Items as they came, checked as a catalog is.

    Raises:
        DataError: One of them cannot be used.
    """
    names = list(dict.fromkeys(name for record in records for name in record.fields if name != "item_id"))
    rows = [{"item_id": record.item_id, **{name: record.fields.get(name) for name in names}} for record in records]
    try:
        frame = pl.DataFrame(rows, infer_schema_length=None, strict=True)
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise DataError(
            f"the items cannot be put into one table ({str(error).splitlines()[0]}); write each column in one way: "
            "texts, numbers, or lists of texts."
        ) from error
    return Catalog.from_frame(frame)


def with_items(now: Now, records: Sequence[ItemRecord], store: Store) -> tuple[Now, dict[str, int]]:
    """The next `Now` with these items, and the events that waited for them; and how many were new, known and hidden."""
    state = now.state
    known = state.model.catalog.rows([record.item_id for record in records]) >= 0
    fresh = [record for record, is_known in zip(records, known, strict=True) if not is_known]
    if fresh:
        state, _ = state.with_items(catalog_of(fresh))
        state = taken_in(state, store.events_about([record.item_id for record in fresh]))
        _look_up(state.model)
    shown = {record.item_id for record in records if not record.hidden}
    hidden = (now.hidden - shown) | {record.item_id for record in records if record.hidden}
    told = {"accepted": len(fresh), "known": len(records) - len(fresh), "hidden": len(records) - len(shown)}
    return replace(now, state=state, hidden=frozenset(hidden)), told


def _look_up(model: Any) -> None:
    """What the next list needs is looked up here, so that nobody waits for it."""
    _ = model.attributes, model.ties, model.catalog.titles


def record_of(now: Now, item_id: str, store: Store) -> ItemRecord | None:
    """An item as it was sent, else as the catalog has it; None: there is none."""
    sent = store.item(item_id)
    if sent is not None:
        return sent
    row = int(now.state.model.catalog.rows([item_id])[0])
    if row < 0:
        return None
    fields = {name: value for name, value in now.state.model.catalog.item(row).items() if name != "item_id"}
    return ItemRecord(item_id, _jsonable(fields), item_id in now.hidden)


def _jsonable(fields: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(dict(fields), default=str))
    return plain
