"""Rankings: lists made elsewhere are measured like everybody else's, and only on the split they were made for."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recllm.data.interactions import Interactions
from recllm.errors import ConfigError, DataError
from recllm.evaluation.arms import LENGTH
from recllm.evaluation.protocol import make_splits
from recllm.evaluation.rankings import read_rankings
from recllm.evaluation.run import evaluate
from recllm.evaluation.scorers import rank_arm
from recllm.evaluation.split import Split
from recllm.testing import ToyShop

TEXT = {"arm": str, "user_id": str, "item_id": str}


class Peer:
    """A scorer with an order of its own for everybody."""

    def score(self, users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        seeds = [int(user[1:]) for user in users.user_ids]
        return np.stack([np.random.default_rng(seed).random(len(item_ids)) for seed in seeds]).astype(np.float32)


@pytest.fixture(scope="module")
def split(toy: ToyShop) -> Split:
    return make_splits(toy.catalog, toy.events, shots=(0, 1, 3))[0]


def ranked_by_files(folder: Path) -> pd.DataFrame:
    """What another program writes, made of nothing but the saved split: the lists of `Peer`."""
    about = json.loads((folder / "split.json").read_text())
    items, support, query = (
        pd.read_csv(folder / f"{name}.csv.gz", dtype=TEXT) for name in ("items", "support", "query")
    )
    lines = []
    for entry in about["arms"]:
        if entry["part"] != "test":
            continue
        told = support[support.arm == entry["arm"]].groupby("user_id").item_id.agg(set).to_dict()
        candidates = (
            set(items.item_id)
            if entry["candidates"] == "all"
            else set(items[items.cold == (entry["candidates"] == "cold")].item_id)
        )
        for user in query[query.arm == entry["arm"]].user_id.unique():
            # In the order of the catalog, i0, i1 …, which Peer is asked in.
            ids = sorted(items.item_id, key=lambda item: int(item[1:]))
            scores = np.random.default_rng(int(user[1:])).random(len(ids)).astype(np.float32)
            best = [ids[row] for row in np.argsort(-scores, kind="stable")]
            seen = told.get(user, set()) if entry["exclude_seen"] else set()
            listed = [item for item in best if item in candidates and item not in seen]
            lines += [(entry["arm"], user, rank, item) for rank, item in enumerate(listed[:LENGTH], 1)]
    return pd.DataFrame(lines, columns=["arm", "user_id", "rank", "item_id"])


def write(folder: Path, split: Split, lines: pd.DataFrame, name: str = "peer", **about: Any) -> Path:
    folder.mkdir(exist_ok=True)
    lines.to_csv(folder / f"{name}.csv.gz", index=False)
    (folder / f"{name}.json").write_text(json.dumps({"split": split.fingerprint} | about))
    return folder


@pytest.fixture(scope="module")
def lines(split: Split, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("split")
    split.save(folder)
    return ranked_by_files(folder)


def test_lists_from_files_are_those_of_the_scorer(
    toy: ToyShop, split: Split, lines: pd.DataFrame, tmp_path: Path
) -> None:
    mixed = lines.sample(frac=1, random_state=0)
    folder = write(tmp_path, split, mixed, **{"ms per user": 2.5, "budget": "30 minutes"})
    write(tmp_path, split, lines.head(0), "says nothing")
    cells = read_rankings(folder, split)
    assert list(cells) == ["peer", "says nothing"]
    assert cells["peer"].about["budget"] == "30 minutes"
    for arm in split.arms:
        expected = rank_arm("peer", Peer(), arm, toy.catalog).rows
        np.testing.assert_array_equal(cells["peer"].ranked[arm.name].rows, expected)
        assert cells["peer"].ranked[arm.name].seconds == pytest.approx(0.0025 * len(arm))
        assert (cells["says nothing"].ranked[arm.name].rows == -1).all()
        assert np.isnan(cells["says nothing"].ranked[arm.name].seconds)


@pytest.mark.parametrize("protocol", ["users", "cold", "basket"])
def test_they_are_measured_like_everybody(toy: ToyShop, tmp_path: Path, protocol: str) -> None:
    options: dict[str, Any] = {"protocol": protocol, "shots": (0, 3), "baselines": None}
    evaluate(Peer(), toy.catalog, toy.events, save_splits=tmp_path / "split", **options)
    (split,) = make_splits(toy.catalog, toy.events, protocol=protocol, shots=(0, 3))
    write(tmp_path / "lists", split, ranked_by_files(tmp_path / "split"), **{"ms per user": 7})
    frame = evaluate({"scorer": Peer()}, toy.catalog, toy.events, rankings=tmp_path / "lists", **options).to_pandas()
    place = ["protocol", "shots", "metric", "value", "ci_low", "ci_high", "n_users"]
    timeless = frame[frame.metric != "ms per user"]
    ours, theirs = (timeless[timeless.method == name][place].reset_index(drop=True) for name in ("scorer", "peer"))
    assert len(ours) > 20
    pd.testing.assert_frame_equal(ours, theirs)
    assert set(frame[(frame.metric == "ms per user") & (frame.method == "peer")].value) == {7.0}
    alone = evaluate(None, toy.catalog, toy.events, rankings=tmp_path / "lists", **options).to_pandas()
    assert set(alone.method) == {"peer"}


def test_another_split_is_refused(toy: ToyShop, split: Split, lines: pd.DataFrame, tmp_path: Path) -> None:
    folder = write(tmp_path, split, lines)
    (other,) = make_splits(toy.catalog, toy.events, shots=(0, 1, 3), seed=1)
    said = (
        rf"peer\.csv\.gz ranks split {split.fingerprint[:12]}, and this one is {other.fingerprint[:12]}; rank the saved"
    )
    with pytest.raises(DataError, match=said):
        read_rankings(folder, other)
    (folder / "peer.json").write_text("{}")
    with pytest.raises(DataError, match="ranks split None"):
        read_rankings(folder, split)


def without_json(folder: Path) -> None:
    (folder / "peer.json").unlink()


def with_json(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "peer.json").write_text(text)  # type: ignore[return-value]


def without_rank(folder: Path) -> None:
    (folder / "peer.csv.gz").write_bytes(gzip.compress(b"arm,user_id,item_id\ntest/users/0,u1,i1\n"))


def with_words_for_ranks(folder: Path) -> None:
    (folder / "peer.csv.gz").write_bytes(gzip.compress(b"arm,user_id,rank,item_id\ntest/users/0,u1,first,i1\n"))


def cut_short(folder: Path) -> None:
    (folder / "peer.csv.gz").write_bytes((folder / "peer.csv.gz").read_bytes()[:100])


@pytest.mark.parametrize(
    "damage",
    [without_json, with_json("{"), with_json("[1]"), without_rank, with_words_for_ranks, cut_short],
)
def test_files_that_cannot_be_read_are_named(
    split: Split, lines: pd.DataFrame, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    damage(write(tmp_path, split, lines))
    with pytest.raises(DataError, match=r"the rankings .*peer\.csv\.gz cannot be read: "):
        read_rankings(tmp_path, split)


def test_a_time_that_is_no_number_is_refused(split: Split, lines: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_rankings(write(tmp_path, split, lines, **{"ms per user": "fast"}), split)


def test_an_empty_folder_is_refused(split: Split, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=f"there are no rankings .* in {folder}"):
            read_rankings(folder, split)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"item_id": "gone"}, "'peer' lists item 'gone' for user '{user}', which the catalog does not have"),
        ({"rank": 2, "item_id": "again"}, "'peer' lists an item twice for user '{user}'"),
        ({"item_id": "seen"}, "'peer' lists item '{seen}' for user '{user}', who has it already"),
    ],
)
def test_lists_that_may_not_be_are_refused(
    toy: ToyShop, split: Split, lines: pd.DataFrame, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    arm = split.arms[2]
    user, seen = arm.user_ids[4], toy.catalog.item_ids[arm.support.items_of(4)[0]]
    own = lines.index[(lines.arm == f"test/{arm.name}") & (lines.user_id == user)]
    items = {"again": lines.item_id[own[1]], "seen": seen}
    spoiled = lines.copy()
    for column, value in change.items():
        spoiled.loc[own[0], column] = items.get(value, value)
    with pytest.raises(DataError) as caught:
        read_rankings(write(tmp_path, split, spoiled), split)
    assert str(caught.value).startswith(said.format(user=user, seen=seen))


def test_only_lists_of_test_arms_count(split: Split, lines: pd.DataFrame, tmp_path: Path) -> None:
    more = pd.DataFrame(
        {"arm": ["validation/users/0", "test/users/99"], "user_id": ["u1"] * 2, "rank": 1, "item_id": "gone"}
    )
    cells = read_rankings(write(tmp_path, split, pd.concat([lines, more])), split)
    assert list(cells["peer"].ranked) == [arm.name for arm in split.arms]


def test_nothing_to_evaluate_is_refused(toy: ToyShop) -> None:
    with pytest.raises(ConfigError, match="nothing to evaluate"):
        evaluate(None, toy.catalog, toy.events, baselines=None)
