"""What people wrote of items: a world in which only comments tell them apart, and whose words are never read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.text import TextEncoder
from recllm.model.fit.comments import read_comments
from recllm.model.fit.run import FitRun
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import tiny_backbone
from tests.small import config_for

KINDS = ("loud guitars", "quiet piano", "fast drums", "warm strings")
ITEMS, RARE, USERS = 80, 16, 240
"""Of the items, the last are rare: one user of another kind has each and has written of it."""


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["the record", *KINDS, "canary"]
    return tiny_backbone(tmp_path_factory.mktemp("blank"), words)


@pytest.fixture(scope="module")
def world() -> tuple[Catalog, Interactions]:
    """All titles are the same; what is written of an item names its kind, and users keep to a kind."""
    rng = np.random.default_rng(0)
    catalog = Catalog.from_frame(
        pl.DataFrame({"item_id": [f"i{row}" for row in range(ITEMS)], "title": ["the record"] * ITEMS})
    )
    rows = []
    for user in range(USERS):
        mine = rng.permutation(np.arange(user % 4, ITEMS - RARE, 4))[:7].tolist()
        rare = [ITEMS - RARE + user] if user < RARE else []
        for place, item in enumerate([*mine, *rare]):
            rows.append((f"u{user}", f"i{item}", 1_600_000_000 + 100 * place, KINDS[item % 4]))
    frame = pl.DataFrame(rows, ["user_id", "item_id", "timestamp", "review_text"], orient="row")
    # Whoever has a rare item is of another kind than it: what is taken together says nothing of it.
    moved = frame.with_columns(
        pl.when(pl.col("item_id").str.slice(1).cast(int) >= ITEMS - RARE)
        .then(pl.concat_str(pl.lit("u"), (pl.col("user_id").str.slice(1).cast(int) + 1).cast(str)))
        .otherwise(pl.col("user_id"))
        .alias("user_id")
    )
    return catalog, Interactions.from_frame(moved)


def test_comments_tell_what_nobody_else_does(blank: Path, world: tuple[Catalog, Interactions]) -> None:
    catalog, events = world
    rare, right = [f"i{row}" for row in range(ITEMS - RARE, ITEMS)], {}
    for comments in (4, 0):
        config = config_for(blank, adaptation=None)
        config = replace(config, text=replace(config.text, comments=comments))
        rec = Recommender(config).fit(catalog, events, options=TrainOptions(seed=0))
        assert ("senses" in rec.model.channels.names) == bool(comments)
        kind = rec.model.channels.names.index("senses") if comments else None
        hits = []
        for user in range(40):
            history = {"new": [f"i{user % 4}", f"i{user % 4 + 4 * (1 + user % 9)}"]}
            if kind is not None:
                seen, _ = rec.fitted.histories(rec.fitted.events_of(history))
                scores = rec.model.channel_scores(seen, None)[0, kind].numpy()
                best = max(rare, key=lambda item: scores[int(item[1:])])
                hits.append(int(best[1:]) % 4 == user % 4)
        right[comments] = np.mean(hits) if hits else 0.0
    assert right[4] >= 0.9


def run_of(blank: Path, catalog: Catalog, events: Interactions) -> FitRun:
    return FitRun(config_for(blank, adaptation=None), catalog, events, TrainOptions(seed=0), reserves=True)


@pytest.fixture
def hears(blank: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[TextEncoder, list[str]]:
    """An encoder, and all that it is told to read."""
    heard: list[str] = []

    def encode(self: TextEncoder, texts: list[str], **_: object) -> np.ndarray:
        heard.extend(texts)
        return np.ones((len(texts), 3), dtype=np.float32)

    monkeypatch.setattr(TextEncoder, "encode", encode)
    return TextEncoder(config_for(blank).text), heard


def test_nobody_who_is_asked_has_written_what_is_read(
    blank: Path, world: tuple[Catalog, Interactions], hears: tuple[TextEncoder, list[str]]
) -> None:
    """Each comment names its user; of those kept for the head and for validation none is read."""
    catalog, events = world
    signed = events.frame.with_columns(pl.col("user_id").alias("review_text"))
    run, (encoder, heard) = run_of(blank, catalog, Interactions.from_frame(signed)), hears
    found = read_comments(run, encoder)
    assert found is not None
    assert set(heard) <= set(run.base.user_ids)
    asked = {*run.reserved.user_ids, *(run.histories.user_ids[row] for row in run.stopping)}
    assert len(asked) > 20
    assert asked.isdisjoint(heard)
    assert max(map(heard.count, set(heard))) <= 9
    everybody = FitRun(
        config_for(blank, adaptation=None), catalog, Interactions.from_frame(signed), TrainOptions(), reserves=False
    )
    assert read_comments(everybody, encoder) is None, "where everybody is learned from and asked"


def test_what_a_user_writes_changes_nothing_in_their_own_list(blank: Path, world: tuple[Catalog, Interactions]) -> None:
    rec = Recommender(config_for(blank, adaptation=None)).fit(*world)
    plain = [{"item_id": "i1", "timestamp": 1.0}, {"item_id": "i5", "timestamp": 2.0}]
    loud = [{**event, "review_text": "canary loud guitars"} for event in plain]
    ids = list(world[0].item_ids)
    assert (rec.score({"new": plain}, ids) == rec.score({"new": loud}, ids)).all()


def test_so_many_and_no_more_are_read(
    blank: Path, world: tuple[Catalog, Interactions], hears: tuple[TextEncoder, list[str]]
) -> None:
    run, (encoder, heard) = run_of(blank, *world), hears
    found = read_comments(run, encoder)
    assert found is not None
    read = np.bincount(run.base.item_rows, minlength=ITEMS)
    assert len(heard) == np.minimum(read, 4).sum()
    assert (np.isnan(found).all(axis=1) == (read == 0)).all()
    assert run.report.counts["comments read"] == len(heard)


def test_a_log_without_comments_has_none(
    blank: Path, world: tuple[Catalog, Interactions], hears: tuple[TextEncoder, list[str]]
) -> None:
    catalog, events = world
    silent = Interactions.from_frame(events.frame.drop("review_text"))
    assert read_comments(run_of(blank, catalog, silent), hears[0]) is None


def test_comments_are_no_part_of_item_vectors(blank: Path, world: tuple[Catalog, Interactions]) -> None:
    rec = Recommender(config_for(blank, adaptation=None)).fit(*world)
    model = rec.model
    assert model.channels.senses.shape[1] > 0
    assert model.items.text.shape[1] == model.whitening.matrix.shape[1]
