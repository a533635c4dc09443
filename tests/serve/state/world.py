"""Events, lists and stores for the tests of the store."""

from pathlib import Path
from typing import Any

from recllm.serve.state.records import Added, Event, Impression
from recllm.serve.state.store import Store


def event(name: str, user: str = "ann", item: str = "lamp", at: float = 1.0, **more: Any) -> Event:
    return Event(name, user, item, at, **more)


def impression(name: str, user: str | None = "ann", at: float = 1.0, items: tuple[str, ...] = ("lamp", "mug")) -> Any:
    lines = [
        {"item_id": item, "rank": rank, "score": 1 / rank, "channel": "text", "propensity": 1.0}
        for rank, item in enumerate(items, 1)
    ]
    return Impression(name, user, at, "recommend", "model-1", 7, "ranking", {"n": len(items)}, lines)


def add(store: Store, *events: Event, replace: bool = False) -> Added:
    return store.write(lambda change: change.add_events(events, replace=replace)).result(10)


def numbers(store: Store) -> list[int]:
    return [one.number for one in store.events_after(0)]


def database(folder: Path) -> Path:
    return folder / "recllm.db"
