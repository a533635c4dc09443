"""What people have written of items, as vectors: the mean of a few comments each."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from recllm.encoders.text import TextEncoder
from recllm.model.fit.run import FitRun

MOST_COMMENTS = 6_000
"""Read in all; beyond, items get fewer each."""

FEWEST_ITEMS = 10
"""Items with comments, below which they tell nothing apart."""


def read_comments(run: FitRun, encoder: TextEncoder) -> NDArray[np.float32] | None:
    """Of each item, the mean of its comments by base users, float32 [items, dim]; NaN without any.

    None where hardly any item has one.

    Nobody who is asked during the fit has written any of them: where everybody is both learned from and asked, comments
    are left out.
    """
    most = run.config.text.comments
    if not most or "review_text" not in run.log.frame.columns or not run.reserves:
        return None
    chosen = _chosen(run, most)
    if len({item for item, _ in chosen}) < FEWEST_ITEMS:
        return None

    def progress(done: float, total: float) -> None:
        run.say("read the comments", done, total)

    # What people write is kept in no cache: it is theirs, and may have to be forgotten.
    vectors = encoder.encode([text for _, text in chosen], device=str(run.device), progress=progress, keep=False)
    rows = np.array([item for item, _ in chosen], dtype=np.int64)
    sums = np.zeros((len(run.catalog), vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, rows, vectors)
    counts = np.bincount(rows, minlength=len(run.catalog))[:, None].astype(np.float32)
    run.say("read the comments", 1, 1)
    run.report.counts["comments read"] = len(chosen)
    with np.errstate(invalid="ignore"):
        return (sums / np.where(counts > 0, counts, np.nan)).astype(np.float32)


def _chosen(run: FitRun, most: int) -> list[tuple[int, str]]:
    """(item row, comment) of base users: one of each item, then a second of each, as long as they are few enough.

    Which of an item's comments come first, a hash of user and item says.
    """
    base = run.base
    written = run.log.frame["review_text"].to_list()
    by_item: dict[int, list[tuple[bytes, str]]] = {}
    for user, item, row in zip(base.user_rows.tolist(), base.item_rows.tolist(), base.event_rows.tolist(), strict=True):
        text = (written[row] or "").strip()
        if text:
            key = hashlib.sha256(f"{run.options.seed}\x00{base.user_ids[user]}\x00{item}".encode()).digest()
            by_item.setdefault(item, []).append((key, text))
    turns = [
        (turn, item, text)
        for item, comments in by_item.items()
        for turn, (_, text) in enumerate(sorted(comments)[:most])
    ]
    return [(item, text) for _, item, text in sorted(turns)[:MOST_COMMENTS]]
