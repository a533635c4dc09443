"""The shop's adapter goes where the shop has gone, stays where nothing tells it to go, and can be taken back."""

import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.adaptation.drift import KEPT, Drift, DriftConfig, choose
from recllm.adaptation.evidence import FEWEST_USERS, Evidence
from recllm.adaptation.proximal import HeadLoss, best_scale, nearest_best
from recllm.adaptation.shop import ShopAdapters, read_drift
from recllm.artifact.arrays import SavedArrays
from recllm.errors import AdapterMismatch, ArtifactError, DataError
from recllm.ranking.head import RankingConfig, RankingHead
from recllm.ranking.objective import RankingTasks

CHANNELS, ITEMS, POPULAR_NOW = 4, 40, 2


def head(channels: int = CHANNELS) -> RankingHead:
    """A head that was fitted to something: a correction by its hidden layer, too."""
    torch.manual_seed(0)
    made = RankingHead(channels, RankingConfig(hidden=8))
    with torch.no_grad():
        made.output.weight.normal_(std=0.2)
    return made.requires_grad_(False)


def batch(count: int, seed: int, by: int | str = POPULAR_NOW, sharpness: float = 2.0) -> RankingTasks:
    """What users take: by one channel, by the `head`, or by `chance`."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(count, CHANNELS, ITEMS, generator=generator)
    known = torch.where(torch.rand(count, generator=generator) < 0.5, 2.0, 20.0)
    if isinstance(by, int):
        wanted = scores[:, by]
    else:
        wanted = head()(scores, known) if by == "head" else torch.zeros(count, ITEMS)
    taken = torch.multinomial((sharpness * wanted).softmax(dim=1), 1, generator=generator)
    target = torch.zeros(count, ITEMS).scatter_(1, taken, 1.0)
    return RankingTasks(
        scores, known, target, torch.ones(count), torch.arange(ITEMS).expand(count, ITEMS), torch.arange(count)
    )


def learned(batches: int = 3, by: int | str = POPULAR_NOW, count: int = 200, **config: float) -> Drift:
    drift = Drift.none(CHANNELS, DriftConfig(**config))
    for seed in range(batches):
        drift = drift.step(head(), batch(count, seed, by), newest=1_600_000_000.0 + seed)
    return drift


def hit_rate(of: RankingHead, tasks: RankingTasks) -> float:
    best = of(tasks.scores, tasks.known).argmax(dim=1)
    return float((tasks.target.gather(1, best[:, None]) > 0).float().mean())


def same(first: RankingHead, second: RankingHead) -> bool:
    return all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))


def test_when_popular_now_becomes_right_the_adapter_goes_there() -> None:
    drift, later = learned(), batch(400, seed=99)
    assert drift.in_use
    assert drift.bias.argmax() == POPULAR_NOW
    assert hit_rate(drift.applied(head()), later) > hit_rate(head(), later) + 0.1


def test_what_depends_on_how_much_is_known_is_learned_as_that() -> None:
    def seasonal(seed: int) -> RankingTasks:
        ours, theirs = batch(300, seed, by=1), batch(300, seed, by=3)
        target = torch.where(ours.known[:, None] == 2, ours.target, theirs.target)
        return dataclasses.replace(ours, target=target)

    drift = Drift.none(CHANNELS)
    for seed in range(4):
        drift = drift.step(head(), seasonal(seed))
    assert drift.weight[3, 0] > 0.1 > -0.1 > drift.weight[1, 0], "channel 3 is right where much is known"


@pytest.mark.parametrize("seed", range(5))
def test_labels_by_chance_move_no_list(seed: int) -> None:
    drift = Drift.none(CHANNELS)
    for number in range(4):
        drift = drift.step(head(), batch(150, 10 * seed + number, by="chance"))
        assert not drift.in_use
        assert np.linalg.norm(drift.added) < 0.4
        assert not drift.weight.any()
        assert not drift.bias.any()
        assert same(drift.applied(head()), head())


def test_a_head_that_is_right_but_not_sharp_stays() -> None:
    """One factor for all scores changes no list; learning it would be all that there is to learn."""
    drift = learned(by="head", count=400, pull=1.0)
    sharp = HeadLoss(head(), batch(400, 7, by="head"))
    none = torch.zeros(CHANNELS * 3).double()
    assert float(best_scale(sharp, none)[-1].exp()) == pytest.approx(2.0, rel=0.2)
    assert np.linalg.norm(drift.added) < 0.25


def test_a_dozen_tasks_hardly_move_it_and_are_not_enough_to_use_it() -> None:
    drift = Drift.none(CHANNELS).step(head(), batch(12, 0))
    assert 0 < np.linalg.norm(drift.added) < 0.15 < np.linalg.norm(learned(1).added)
    assert not drift.in_use
    assert same(drift.applied(head()), head())


def test_without_tasks_it_is_the_fitted_head() -> None:
    none = Drift.none(CHANNELS)
    assert same(none.applied(head()), head())
    empty = batch(3, 0).of(torch.zeros(0, dtype=torch.long))
    assert none.step(head(), empty) is none


def test_tasks_that_are_no_numbers_are_left_out() -> None:
    good, bad = batch(60, 0), batch(6, 1)
    bad.target[0] = torch.nan
    bad.scores[1] = torch.inf
    bad.rest[2] = torch.nan
    bad.known[3] = torch.nan
    bad.scores[4] = -torch.inf
    bad.target[5] = torch.inf
    mixed = Drift.none(CHANNELS).step(head(), RankingTasks.concatenate([bad, good]))
    np.testing.assert_allclose(mixed.added, Drift.none(CHANNELS).step(head(), good).added, atol=1e-9)
    assert mixed.tasks == 60
    one = learned(1)
    assert one.step(head(), bad) is one


def test_a_list_is_judged_on_its_listed_items_only() -> None:
    tasks = batch(100, 0)
    wide = dataclasses.replace(
        tasks,
        scores=torch.cat([tasks.scores, torch.full((100, CHANNELS, 5), torch.nan)], dim=2),
        target=torch.cat([tasks.target, torch.zeros(100, 5)], dim=1),
        rows=torch.cat([tasks.rows, torch.zeros(100, 5, dtype=torch.long)], dim=1),
    )
    plain, filled = (Drift.none(CHANNELS).step(head(), one) for one in (tasks, wide))
    np.testing.assert_allclose(plain.added, filled.added, atol=1e-9)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.floats(0.1, 1e4), st.floats(0.05, 2.0))
def test_it_is_the_best_place_within_reach(seed: int, pull: float, reach: float) -> None:
    loss, generator = HeadLoss(head(), batch(30, seed)), torch.Generator().manual_seed(seed)
    numbers = CHANNELS * 3
    last = 0.01 * torch.randn(numbers, generator=generator).double()
    firmness = pull * torch.eye(numbers).double()

    def total(point: torch.Tensor) -> float:
        away = point[:-1] - last
        return float(loss.values(point).sum() + away @ firmness @ away / 2 + point[-1] ** 2 / 2)

    found = nearest_best(loss, last, firmness, reach)
    length = float(found[:-1].norm())
    assert length <= reach * (1 + 1e-9)
    for size in (0.3, 0.03, 0.003):
        beside = found + size * torch.randn(numbers + 1, generator=generator).double()
        beside[:-1] *= min(1.0, length / float(beside[:-1].norm()))
        assert total(found) <= total(beside) + 1e-4


def test_the_farther_it_may_move_the_farther_it_moves() -> None:
    by_pull = [np.linalg.norm(learned(1, pull=pull).added) for pull in (1e5, 1e3, 1e2, 1.0)]
    assert by_pull == sorted(by_pull)
    assert by_pull[0] < 0.01
    by_reach = [np.linalg.norm(learned(3, reach=reach, pull=1.0).added) for reach in (0.1, 0.3)]
    np.testing.assert_allclose(by_reach, (0.1, 0.3), rtol=0.01)


def test_what_earlier_batches_said_holds_it() -> None:
    """The same batch, and before it three of another season or none: with a memory, the older ones hold on."""

    def turned(memory: float) -> float:
        drift = learned(3, by=0, memory=memory)
        return float(np.linalg.norm(drift.step(head(), batch(200, 50)).added - drift.added))

    assert turned(0.9) < 0.8 * turned(0.0)


def test_the_order_of_tasks_does_not_matter() -> None:
    tasks = batch(100, 0)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(1))
    first, second = (Drift.none(CHANNELS).step(head(), one) for one in (tasks, tasks.of(order)))
    np.testing.assert_allclose(first.added, second.added, atol=1e-9)
    again = Drift.none(CHANNELS).step(head(), tasks)
    np.testing.assert_array_equal(first.added, again.added)


def test_when_it_stops_gaining_it_is_not_used_any_more() -> None:
    drift = learned(3, memory=0.5)
    assert drift.in_use
    states = []
    for seed in range(20, 26):
        drift = drift.step(head(), batch(200, seed, by="head"))
        states.append(drift.in_use)
    assert not states[-1]


def test_gains_count_once_per_user() -> None:
    gains, owners = torch.tensor([1.0, 1.0, 1.0, -1.0]).double(), torch.tensor([0, 0, 0, 1])
    assert Evidence().plus(gains, owners, 0.8) == Evidence(2.0, 0.0, 2.0)
    assert Evidence(10.0, 5.0, 2.5).plus(gains, owners, 0.8) == Evidence(10.0, 4.0, 4.0)
    assert not Evidence(FEWEST_USERS - 1.0, 100.0, 600.0).is_gain
    assert Evidence(FEWEST_USERS, 100.0, 600.0).is_gain
    assert not Evidence(100.0, 1.0, 100.0).is_gain
    assert not Evidence(100.0, -100.0, 100.0).is_gain


def test_neither_head_nor_adapter_is_changed() -> None:
    ours, drift = head(), learned(2)
    before, added, firmness = copy.deepcopy(ours), drift.added.copy(), drift.firmness.copy()
    moved = drift.applied(ours)
    drift.step(ours, batch(100, 9))
    assert same(ours, before)
    assert not same(moved, ours)
    np.testing.assert_array_equal(drift.added, added)
    np.testing.assert_array_equal(drift.firmness, firmness)


def test_another_models_head_is_refused() -> None:
    drift = learned(1)
    with pytest.raises(AdapterMismatch, match="for 4 channels, the ranking head has 5; start a new one"):
        drift.applied(head(5))
    with pytest.raises(AdapterMismatch, match="for 5 channels"):
        Drift.none(5).step(head(), batch(5, 0))


def test_it_can_be_taken_back() -> None:
    versions = [Drift.none(CHANNELS)]
    for seed in range(KEPT + 2):
        versions.append(versions[-1].step(head(), batch(40, seed), newest=1e9 + seed))
    assert [one.version for one in versions] == list(range(KEPT + 3))
    assert [one.version for one in versions[-1].earlier] == list(range(2, KEPT + 2))
    assert all(not one.earlier for one in versions[-1].earlier)
    back = versions[-1]
    for wanted in reversed(versions[2:-1]):
        back = back.rolled_back()
        np.testing.assert_array_equal(back.added, wanted.added)
        assert (back.version, back.tasks, back.newest) == (wanted.version, wanted.tasks, wanted.newest)
    with pytest.raises(DataError, match="version 2 of the shop's adapter is the oldest that is kept; 10 are"):
        back.rolled_back()
    with pytest.raises(DataError, match="has not learned anything that could be taken back"):
        versions[0].rolled_back()
    assert same(versions[1].rolled_back().applied(head()), head())
    forward = versions[3].rolled_back().step(head(), batch(40, 77))
    assert (forward.version, [one.version for one in forward.earlier]) == (3, [0, 1, 2])


def test_saved_and_read_it_goes_on_as_if_nothing_had_happened() -> None:
    drift = learned(3, pull=50.0, reach=0.7, memory=0.6)
    again = Drift.from_tensors(SavedArrays("the drift", drift.tensors()), CHANNELS)
    assert (again.version, again.tasks, again.events) == (3, 600, 600)
    assert again.newest == 1_600_000_002.0
    assert again.config == DriftConfig(50.0, 0.7, 0.6)
    assert (again.evidence, repr(again)) == (drift.evidence, repr(drift))
    assert [one.version for one in again.earlier] == [0, 1, 2]
    first, second = (one.step(head(), batch(50, 8)) for one in (drift, again))
    np.testing.assert_array_equal(first.added, second.added)
    np.testing.assert_array_equal(again.rolled_back().added, drift.rolled_back().added)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("added", lambda a: a.astype(np.float32), "is float32"),
        ("added", lambda a: np.full_like(a, np.nan), "holds values"),
        ("added", lambda a: a[:, :-1], "instead of float64"),
        ("firmness", lambda a: -a - np.eye(a.shape[1]), "matrix or settings that are none"),
        ("firmness", lambda a: a + np.triu(np.ones(a.shape[1:]), 1), "matrix or settings that are none"),
        ("counts", lambda a: a[::-1].copy(), "versions that do not follow"),
        ("counts", lambda a: -a, "holds values"),
        ("settings", lambda a: a * 0, "matrix or settings that are none"),
        ("settings", lambda a: a + 1, "matrix or settings that are none"),
        ("newest", lambda a: a - np.inf, "holds values"),
        ("evidence", lambda a: a[:, :2], "instead of float64"),
        ("more", lambda _: np.zeros(2), "does not belong there"),
        ("evidence", None, "lacks 'evidence'"),
    ],
)
def test_damaged_arrays_are_refused(name: str, change: object, said: str) -> None:
    arrays = learned(2, count=30).tensors()
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays.get(name))  # type: ignore[operator]
    with pytest.raises(ArtifactError, match=said), np.errstate(invalid="ignore"):
        Drift.from_tensors(SavedArrays("the drift", arrays), CHANNELS)


# --- files and versions ----------------------------------------------------------------------------------------------


def shop(drift: Drift) -> tuple[ShopAdapters, list[Drift]]:
    served = [drift]

    def change(make: object) -> Drift:
        served.append(make(served[-1]))  # type: ignore[operator]
        return served[-1]

    return ShopAdapters(drift, "f" * 64, change), served


@pytest.mark.parametrize("batches", [0, 3])
def test_peft_scores_the_same_with_what_is_exported(batches: int, tmp_path: Path) -> None:
    drift = learned(batches)
    shop(drift)[0].export(tmp_path / "adapter")
    assert {file.name for file in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "README.md",
    }
    wrapped = peft.PeftModel.from_pretrained(head(), tmp_path / "adapter")  # type: ignore[arg-type]
    scores, known = torch.randn(5, CHANNELS, 9), torch.tensor([0.0, 1.0, 3.0, 10.0, 50.0])
    with torch.no_grad():
        torch.testing.assert_close(wrapped(scores, known), drift.applied(head())(scores, known), atol=1e-6, rtol=1e-6)
    again = read_drift(tmp_path / "adapter", CHANNELS)
    np.testing.assert_array_equal(again.weight, drift.weight)
    np.testing.assert_array_equal(again.bias, drift.bias)
    assert same(again.applied(head()), drift.applied(head()))
    card = (tmp_path / "adapter" / "README.md").read_text(encoding="utf-8")
    assert f"version {batches}" in card
    assert "f" * 64 in card
    assert ("2020-09-13" in card, "In use" in card) == (batches > 0, batches > 0)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    exported = shop(learned())[0]
    exported.export(tmp_path)
    with pytest.raises(ArtifactError, match="no shop's adapter for 5 channels"):
        read_drift(tmp_path, 5)
    with pytest.raises(ArtifactError, match="no adapter in PEFT's format"):
        read_drift(tmp_path / "nowhere", CHANNELS)
    file = tmp_path / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    for change in ({"r": 3}, {"lora_bias": False}, {"target_modules": ["hidden"]}, {"lora_alpha": 4}, {"bias": "all"}):
        file.write_text(json.dumps(config | change), encoding="utf-8")
        with pytest.raises(ArtifactError, match="settings that are not a shop's"):
            read_drift(tmp_path, CHANNELS)
    file.write_text(json.dumps({"peft_type": "IA3"}), encoding="utf-8")
    with pytest.raises(ArtifactError, match="no LoRA"):
        read_drift(tmp_path, CHANNELS)
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot write the adapter"):
        exported.export(tmp_path / "file")


def test_the_owner_sees_versions_and_goes_back() -> None:
    adapters, served = shop(learned(2))
    assert (adapters.version, adapters.versions) == (2, (0, 1, 2))
    assert repr(adapters) == "ShopAdapters(version 2, in use; learned from 400 liked events up to 2020-09-13)"
    assert adapters.rollback() is adapters
    assert (adapters.version, adapters.versions, len(served)) == (1, (0, 1), 2)
    assert adapters.drift is served[-1]
    adapters.rollback()
    assert repr(adapters) == "ShopAdapters(version 0: the ranking head as it was fitted)"
    with pytest.raises(DataError, match="taken back"):
        adapters.rollback()
    few, _ = shop(Drift.none(CHANNELS).step(head(), batch(5, 0)))
    assert repr(few) == (
        "ShopAdapters(version 1, not in use, for it has shown no gain yet; learned from 5 liked events)"
    )
    beyond, _ = shop(Drift.none(CHANNELS).step(head(), batch(5, 0), newest=9e11))
    assert repr(beyond) == repr(few), "no calendar has that day"


# --- how far it may move ---------------------------------------------------------------------------------------------


def test_how_far_it_may_move_is_learned_from_earlier_batches() -> None:
    grid = [DriftConfig(pull, 2.0, 0.0) for pull in (3000.0, 300.0, 3.0)]
    steady = [batch(80, seed) for seed in range(6)]
    assert choose(head(), steady, grid).pull == 3.0
    # What each week says is gone in the next.
    fickle = [batch(80, seed, by=seed % 2) for seed in range(6)]
    assert choose(head(), fickle, grid).pull == 3000.0


def test_nothing_to_choose_by_leaves_the_default() -> None:
    assert choose(head(), []) == DriftConfig()
    assert choose(head(), [batch(20, 0), batch(0, 0)]) == DriftConfig()
