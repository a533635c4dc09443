"""The shop prior: trained on toy shops with a known answer, kept on disk, refused where it is damaged or another's."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.adaptation.many_shops import PriorConfig, TrainingShop, _Network, averaged, train_prior
from recllm.adaptation.prior import ALIKE, FARTHEST, ShopPrior, open_prior
from recllm.adaptation.statistics import STATISTICS, without_histories
from recllm.errors import ArtifactError
from recllm.ranking.head import RankingConfig
from recllm.ranking.objective import RankingTasks
from recllm.retrieval.channels import CHANNELS

TWO = ("popularity", "cooccurrence")
LISTED, TASKS = 20, 200
DENSITY = STATISTICS.index("density")


def shop(dense: bool, seed: int, channels: tuple[str, ...] = TWO) -> TrainingShop:
    """In a dense shop what is next is told by co-occurrence, in a sparse one by popularity."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(TASKS, len(channels), LISTED, generator=generator)
    teller = channels.index("cooccurrence" if dense else "popularity")
    target = torch.nn.functional.one_hot(scores[:, teller].argmax(dim=1), LISTED).float()
    known = torch.randint(1, 20, (TASKS,), generator=generator).float()
    rows = torch.zeros(TASKS, LISTED, dtype=torch.long)
    statistics = np.zeros(len(STATISTICS), dtype=np.float32)
    statistics[DENSITY] = 1.0 if dense else -1.0
    tasks = RankingTasks(scores, known, target, torch.ones(TASKS), rows, torch.arange(TASKS))
    return TrainingShop("toy", channels, statistics, tasks)


@pytest.fixture(scope="module")
def prior() -> ShopPrior:
    shops = [shop(dense, seed) for seed, dense in enumerate([True, False] * 3)]
    return train_prior(shops, TWO, PriorConfig(steps=150, hidden=4, directions=2))


def first_right(prior: ShopPrior, like: TrainingShop) -> float:
    """How often what is next is ranked first."""
    head = prior.head(like.statistics, like.channels, RankingConfig())
    with torch.no_grad():
        best = head(like.tasks.scores, like.tasks.known).argmax(dim=1)
    return float((best == like.tasks.target.argmax(dim=1)).float().mean())


@pytest.mark.parametrize("dense", [True, False])
def test_a_shop_that_it_has_not_seen_gets_the_head_of_shops_that_look_alike(prior: ShopPrior, dense: bool) -> None:
    unseen = shop(dense, seed=100)
    assert first_right(prior, unseen) > 0.9
    disguised = TrainingShop("toy", TWO, -unseen.statistics, unseen.tasks)
    assert first_right(prior, disguised) < 0.3


def test_channels_are_found_by_name_and_of_a_strange_one_it_thinks_nothing(prior: ShopPrior) -> None:
    swapped = ("cooccurrence", "my_channel", "popularity")
    other = shop(True, seed=101, channels=swapped)
    assert first_right(prior, other) > 0.9
    head = prior.head(other.statistics, swapped, RankingConfig())
    assert not any(part.any() for part in (head.weights.weight[1], head.weights.bias[1], head.hidden.weight[:, 1]))


def test_the_head_is_that_of_the_formula(prior: ShopPrior) -> None:
    """Worked out again from the arrays, by the formula."""
    one = shop(True, seed=102)
    where = np.tanh(prior.down @ np.clip((one.statistics - prior.mean) / prior.spread, -2.5, 2.5) + prior.down_bias)
    linear = prior.weights + sum(share * by for share, by in zip(where, prior.weights_by, strict=True))
    scores, known = one.tasks.scores[:1], one.tasks.known[:1]
    user = np.array([np.log1p(float(known)) / 3, 0.0, 1.0])
    offsets = prior.hidden[:, 2:] @ user[:2] + prior.hidden_bias + where @ prior.hidden_by
    units = np.maximum(prior.hidden[:, :2] @ scores[0].numpy() + offsets[:, None], 0)
    expected = (linear @ user) @ scores[0].numpy() + (prior.output + where @ prior.output_by) @ units
    with torch.no_grad():
        found = prior.head(one.statistics, TWO, RankingConfig())(scores, known)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_head_scores_as_the_network_that_was_trained() -> None:
    torch.manual_seed(3)
    shops = [shop(True, seed=1), shop(False, seed=2)]
    seen = torch.from_numpy(np.stack([one.statistics for one in shops]))
    network = _Network(seen, len(TWO), PriorConfig(directions=2, hidden=4)).requires_grad_(False)
    for part in network.parameters():
        part.normal_()
    for one, statistics in zip(shops, seen, strict=True):
        away = network.away(statistics.expand(TASKS, -1))
        expected = network(away, one.tasks.scores, one.tasks.known)
        head = network.prior(TWO).head(one.statistics, TWO, RankingConfig()).requires_grad_(False)
        torch.testing.assert_close(head(one.tasks.scores, one.tasks.known), expected, rtol=1e-3, atol=1e-3)


def test_a_strange_shop_is_taken_for_the_farthest_that_was_seen(prior: ShopPrior) -> None:
    farthest = prior.mean + FARTHEST * prior.spread
    np.testing.assert_allclose(prior.directions(prior.mean + 1e4), prior.directions(farthest), rtol=1e-4)
    assert np.abs(prior.directions(farthest)).max() < 0.9999, "not where all strange shops are the same"


def test_the_same_shops_and_seed_give_the_same_prior(prior: ShopPrior) -> None:
    shops = [shop(dense, seed) for seed, dense in enumerate([True, False] * 3)]
    again = train_prior(shops, TWO, PriorConfig(steps=150, hidden=4, directions=2))
    other = train_prior(shops, TWO, PriorConfig(steps=150, hidden=4, directions=2), seed=1)
    assert again.digest == prior.digest != other.digest


def test_averaged_priors_score_as_the_mean_of_their_heads() -> None:
    shops = [shop(dense, seed) for seed, dense in enumerate([True, False])]
    members = [train_prior(shops, TWO, PriorConfig(members=1, steps=20, hidden=3), seed=seed) for seed in (0, 1, 2)]
    one = shops[0]

    def scores(of: ShopPrior) -> torch.Tensor:
        with torch.no_grad():
            return of.head(one.statistics, TWO, RankingConfig())(one.tasks.scores, one.tasks.known)

    mean = torch.stack([scores(member) for member in members]).mean(dim=0)
    torch.testing.assert_close(scores(averaged(members)), mean, rtol=1e-4, atol=1e-5)


def test_saved_and_loaded_it_is_the_same(prior: ShopPrior, tmp_path: Path) -> None:
    prior.save(tmp_path / "mine", "a card")
    loaded = ShopPrior.load(tmp_path / "mine")
    assert (loaded.digest, loaded.channels) == (prior.digest, TWO)
    assert (tmp_path / "mine" / "README.md").read_text() == "a card"


def test_a_damaged_one_is_refused_by_its_hash(prior: ShopPrior, tmp_path: Path) -> None:
    prior.save(tmp_path / "mine", "a card")
    weights = tmp_path / "mine" / "prior.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"the shop prior cannot be used: .*prior\.safetensors"):
        ShopPrior.load(tmp_path / "mine")


def rewritten(prior: ShopPrior, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: object) -> Path:
    """Saved with other facts about itself, and a manifest that vouches for them."""
    import recllm.adaptation.prior as module

    def save(place: object, *, documents: dict[str, dict[str, object]], **rest: object) -> None:
        kept(place, documents={"prior": documents["prior"] | changes}, **rest)

    kept = module.save_artifact
    monkeypatch.setattr(module, "save_artifact", save)
    prior.save(folder, "a card")
    monkeypatch.undo()
    assert json.loads((folder / "prior.json").read_text()).items() >= changes.items()
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 99}, "it is of version 99, and this recllm reads version 1; take the one that came"),
        ({"statistics": ["users"]}, "it goes by other statistics or channels"),
        ({"channels": ["one"]}, "weights"),
        ({"channels": []}, "it goes by other statistics or channels"),
    ],
)
def test_one_for_something_else_is_refused(
    prior: ShopPrior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], said: str
) -> None:
    folder = rewritten(prior, tmp_path / "other", monkeypatch, **changes)
    with pytest.raises(ArtifactError, match=said):
        ShopPrior.load(folder)


@pytest.mark.parametrize("name", ["no-such-prior", "there/is/none", ""])
def test_one_that_is_not_there_is_named_with_those_that_are(name: str) -> None:
    with pytest.raises(ArtifactError, match="shop-prior"):
        open_prior(name)


def test_the_one_that_comes_with_recllm_knows_every_channel_and_is_small() -> None:
    shipped = open_prior("shop-prior")
    # What a profile is worth, only the shop's own users say.
    assert set(shipped.channels) | set(ALIKE) | {"profile"} == set(CHANNELS)
    assert set(ALIKE.values()) <= set(shipped.channels)
    folder = Path(__file__).resolve().parents[2] / "adapters" / "shop-prior"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 100_000
    card = (folder / "README.md").read_text()
    assert shipped.digest in card
    assert all(said in card for said in ("scripts/build_adapters", "CC BY"))


def test_without_histories_only_that_is_another() -> None:
    statistics = np.arange(1, len(STATISTICS) + 1, dtype=np.float32)
    changed = without_histories(statistics) != statistics
    assert [name for name, is_other in zip(STATISTICS, changed, strict=True) if is_other] == ["reads histories"]
