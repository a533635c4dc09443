"""A shop in which one column says what people like, and the title and the text say nothing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

import recllm
from recllm.testing import tiny_backbone

KINDS, ITEMS, USERS, NOISE = 6, 120, 200, 40


@dataclass(frozen=True)
class World:
    """`catalog` has title, text, categories (none), `maker` (says nothing) and `kind` (says all)."""

    catalog: recllm.Catalog
    events: recllm.Interactions


def planted(seed: int = 0, *, random: bool = False) -> World:
    """People keep to one kind; with `random`, to nothing at all."""
    rng = np.random.default_rng(seed)
    kind = np.arange(ITEMS) % KINDS
    noise = [" ".join(f"noise{word}" for word in rng.integers(0, NOISE, 6)) for _ in range(2 * ITEMS)]
    frame = pl.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(ITEMS)],
            "title": noise[:ITEMS],
            "text": noise[ITEMS:],
            "maker": [f"noise{rng.integers(0, NOISE)}" for _ in range(ITEMS)],
            "kind": [f"kind{k}" for k in kind],
        }
    )
    rows = []
    for user in range(USERS):
        inside = np.flatnonzero(kind == user % KINDS)
        chosen = rng.permutation(ITEMS if random else inside)[:12]
        rows += [(f"u{user}", f"i{item}", 1_600_000_000 + 3600 * place) for place, item in enumerate(chosen.tolist())]
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    return World(recllm.Catalog.from_frame(frame), recllm.Interactions.from_frame(log))


def backbone(folder: Path) -> str:
    """A tiny random transformer that knows the world's words, and what labels are made of."""
    words = [
        *(f"noise{word}" for word in range(NOISE)),
        *(f"kind{kind}" for kind in range(KINDS)),
        "kind",
        "maker",
        ":",
    ]
    return str(tiny_backbone(folder / "model", words=[*words, "kind", "maker", ":"]))
