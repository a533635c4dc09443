"""Finding the best of many items: by a scan of codes, by a graph, and where either brings too little."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.retrieval import index as indexes
from recllm.retrieval.index import NOBODY, Graph, Index, Scan, best_whole, exact_best, open_index

ITEMS, WIDTH = 3000, 32


def silent(done: float, total: float) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def vectors() -> torch.Tensor:
    """Items in fifty heaps, as those of a catalog are."""
    rng = np.random.default_rng(0)
    heaps = rng.normal(size=(50, WIDTH))
    return torch.from_numpy(
        (heaps[rng.integers(0, 50, ITEMS)] + 0.5 * rng.normal(size=(ITEMS, WIDTH))).astype(np.float32)
    )


@pytest.fixture(scope="module", params=["scan", "graph"])
def index(request: pytest.FixtureRequest, vectors: torch.Tensor) -> Index:
    return Scan(vectors) if request.param == "scan" else Graph.of(vectors, None, silent)


def share_found(index: Index, vectors: torch.Tensor, eligible: torch.Tensor, size: int) -> float:
    found = index.best(vectors[:20], eligible, size)
    shares = []
    for user in range(20):
        exact = exact_best(vectors, vectors[user], eligible[user], size)
        assert (exact != NOBODY).sum() == (found[user] != NOBODY).sum()
        mine = found[user][found[user] != NOBODY].tolist()
        assert len(set(mine)) == len(mine)
        assert eligible[user][mine].all()
        shares.append(len(set(mine) & set(exact.tolist())) / max(len(mine), 1))
    return float(np.mean(shares))


def test_nearly_all_of_the_best_are_found(index: Index, vectors: torch.Tensor) -> None:
    assert share_found(index, vectors, torch.ones(20, ITEMS, dtype=torch.bool), 50) > 0.97


@pytest.mark.parametrize("share", [0.5, 0.05, 0.002])
def test_filters_never_leave_a_list_short(index: Index, vectors: torch.Tensor, share: float) -> None:
    eligible = torch.from_numpy(np.random.default_rng(1).random((20, ITEMS)) < share)
    assert share_found(index, vectors, eligible, 50) > 0.97


@pytest.mark.parametrize("allowed", [1.0, 0.3, 0.004, 0.0])
@pytest.mark.parametrize("size", [1, 40, 4000])
def test_a_sample_tells_where_the_best_begin(monkeypatch: pytest.MonkeyPatch, allowed: float, size: int) -> None:
    """Also where all above the mark are ruled out, or many are equal."""
    monkeypatch.setattr(indexes, "SAMPLED", 500)
    rng = np.random.default_rng(0)
    for scores in (rng.normal(size=5000), rng.integers(0, 9, 5000), np.zeros(5000)):
        scores = (1000 * scores).astype(np.int32)
        open_to = rng.random(5000) < allowed
        open_to[np.argsort(-scores)[:100]] = False
        found = best_whole(scores, open_to, size)
        assert len(set(found.tolist())) == len(found) == min(size, int(open_to.sum()))
        assert open_to[found].all()
        np.testing.assert_array_equal(
            np.sort(scores[found]), np.sort(scores[open_to])[len(scores[open_to]) - len(found) :]
        )


def test_what_a_walk_does_not_reach_is_looked_for_among_all(vectors: torch.Tensor) -> None:
    """Only items far from the user may be listed: every one that the walk brings is ruled out."""
    graph = Graph.of(vectors, None, silent)
    eligible = (vectors[:20] @ vectors.T) < 0
    assert share_found(graph, vectors, eligible, 50) == 1.0


def test_exact_best_is_the_order_of_all_scores(vectors: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "_BLOCK", 700)
    eligible = torch.arange(ITEMS) % 3 > 0
    found = exact_best(vectors, vectors[3], eligible, 10)
    scores = (vectors @ vectors[3]).masked_fill(~eligible, -torch.inf)
    assert set(found.tolist()) == set(scores.topk(10).indices.tolist())


def test_a_graph_is_made_once_and_opened_if_it_is_what_was_written(vectors: torch.Tensor, tmp_path: Path) -> None:
    made = Graph.of(vectors, tmp_path, silent)
    (file,) = tmp_path.glob("*.usearch")
    written = file.stat().st_mtime_ns
    everything = torch.ones(20, ITEMS, dtype=torch.bool)
    again = Graph.of(vectors, tmp_path, silent)
    assert file.stat().st_mtime_ns == written
    assert torch.equal(made.best(vectors[:20], everything, 9), again.best(vectors[:20], everything, 9))
    stale = Graph.of(vectors[:-1], tmp_path, silent)
    assert len(list(tmp_path.glob("*.usearch"))) == 2, "other vectors are another graph"
    assert (stale.best(vectors[:2], everything[:2, 1:], 9) < ITEMS - 1).all()


@pytest.mark.parametrize("damage", ["flipped", "short", "empty", "no digest", "no file"])
def test_a_damaged_graph_is_not_opened_but_made_again(vectors: torch.Tensor, tmp_path: Path, damage: str) -> None:
    Graph.of(vectors, tmp_path, silent)
    (file,) = tmp_path.glob("*.usearch")
    whole = file.read_bytes()
    if damage == "flipped":
        file.write_bytes(whole[:900] + bytes([whole[900] ^ 1]) + whole[901:])
    elif damage == "no digest":
        file.with_suffix(".json").unlink()
    elif damage == "no file":
        file.unlink()
    else:
        file.write_bytes(whole[:1000] if damage == "short" else b"")
    graph = Graph.of(vectors, tmp_path, silent)
    assert file.read_bytes() == whole, "the same graph each time"
    assert (graph.best(vectors[:1], torch.ones(1, ITEMS, dtype=torch.bool), 5) != NOBODY).all()


def test_large_catalogs_have_a_graph(vectors: torch.Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECLLM_CACHE", str(tmp_path))
    assert isinstance(open_index(vectors), Scan)
    monkeypatch.setattr(indexes, "SCANNED_ITEMS", 100)
    with pytest.warns(UserWarning, match="made, once"):
        assert isinstance(open_index(vectors), Graph)
    told: list[tuple[float, float]] = []
    assert isinstance(open_index(vectors[1:], lambda *so_far: told.append(so_far)), Graph)
    assert told[-1] == (ITEMS - 1, ITEMS - 1)
    assert list(tmp_path.rglob("*.usearch"))
    monkeypatch.setitem(__import__("sys").modules, "usearch.index", None)
    with pytest.warns(UserWarning, match=r"recllm\[scale\]"):
        assert isinstance(open_index(vectors), Scan)
