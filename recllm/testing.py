"""For tests, yours and ours: tiny models that need no download, toy worlds with a known answer, and contracts."""
# ruff: noqa: D102 (what a test of the contract is about, its name says)

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np

from recllm.data.catalog import Catalog
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions

TINY_WIDTH = 32


def tiny_backbone(folder: Path, words: Iterable[str], kind: Literal["bert", "llama"] = "bert", seed: int = 0) -> Path:
    """Write a sentence-transformers model with random weights: two blocks of width 32.

    Args:
        folder: Where to; made if missing.
        words: The words its tokenizer knows.
        kind: The architecture.
        seed: Of the weights.

    Returns:
        The folder, to be used as `TextEncoderConfig(backbone=str(folder))`.
    """
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(seed)
    vocabulary = ["[PAD]", "[UNK]", *dict.fromkeys(word for text in words for word in text.casefold().split())]
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    sizes = {
        "vocab_size": len(vocabulary),
        "hidden_size": TINY_WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
    }
    if kind == "bert":
        model: transformers.PreTrainedModel = transformers.BertModel(transformers.BertConfig(**sizes))
    else:
        model = transformers.LlamaModel(transformers.LlamaConfig(**sizes, num_key_value_heads=2))
    parts = folder / "parts"
    model.save_pretrained(parts)
    fast.save_pretrained(parts)
    transformer = Transformer(str(parts))
    pooling = Pooling(TINY_WIDTH)
    SentenceTransformer(modules=[transformer, pooling], device="cpu").save(str(folder / "model"))
    return folder / "model"


@final
@dataclass(frozen=True)
class ToyShop:
    """A shop of a few departments whose customers keep to one of them.

    Attributes:
        catalog: Items; the title names the department.
        events: Purchases.
        department: Department of each item row.
        favourite: Department of each user.
    """

    catalog: Catalog
    events: Interactions
    department: np.ndarray
    favourite: dict[str, int]


DEPARTMENTS = ("garden", "kitchen", "toys", "books")


def toy_shop(users: int = 80, items_per_department: int = 12, purchases: int = 10, seed: int = 0) -> ToyShop:
    """A shop in which 9 of 10 purchases are from the customer's own department: what to recommend is known."""
    import polars as pl

    rng = np.random.default_rng(seed)
    department = np.repeat(np.arange(len(DEPARTMENTS)), items_per_department)
    titles = [f"{DEPARTMENTS[d]} thing number {row}" for row, d in enumerate(department)]
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row}" for row in range(len(titles))], "title": titles}))
    rows, favourite = [], {}
    for user in range(users):
        favourite[f"u{user}"] = own = user % len(DEPARTMENTS)
        inside, outside = np.flatnonzero(department == own), np.flatnonzero(department != own)
        count = min(purchases, len(inside))
        chosen = np.where(rng.random(count) < 0.9, rng.permutation(inside)[:count], rng.permutation(outside)[:count])
        rows += [(f"u{user}", f"i{item}", 1_600_000_000 + 3600 * time) for time, item in enumerate(chosen.tolist())]
    events = Interactions.from_frame(pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row"))
    return ToyShop(catalog, events, department, favourite)


def opposite_tastes(users: int, items: int, shown: int, seed: int = 0) -> tuple[Histories, np.ndarray]:
    """Users who see the same kind of items and judge them the opposite way; their event tokens do not tell.

    Half of the items are of one kind, half of the other. Every user is shown both alike; one half of the users likes
    the first kind and dislikes the second, the other half the reverse. A model that reads items but not verdicts cannot
    tell the users apart; one that learns from the verdicts can.

    Returns:
        Histories with signals +1 and −1 and all tokens 0, and each user's liked kind (0 or 1) [users].
    """
    rng = np.random.default_rng(seed)
    liked_kind = np.arange(users) % 2
    rows = np.stack([rng.permutation(items)[:shown] for _ in range(users)])
    kind = (rows >= items // 2).astype(np.int64)
    signals = np.where(kind == liked_kind[:, None], 1, -1).astype(np.int8)
    histories = Histories(
        user_ids=tuple(f"u{user}" for user in range(users)),
        offsets=np.arange(users + 1, dtype=np.int64) * shown,
        item_rows=rows.ravel().astype(np.int64),
        timestamps=np.tile(np.arange(shown, dtype=np.float64), users),
        signals=signals.ravel(),
        tokens=np.zeros(users * shown, dtype=np.int64),
    )
    return histories, liked_kind


@cache
def _contract_shop() -> ToyShop:
    return toy_shop(users=40)


class ScorerContract:
    """What every scorer promises, to be run on yours by pytest.

    ::

        class TestMine(ScorerContract):
            make = staticmethod(lambda: MyScorer())

    The scorer is fitted once per class on a toy shop (if it has `fit`), and must not mind being asked many times.
    """

    make: ClassVar[Callable[[], Any]]
    """Makes a scorer that has not been fitted."""
    tolerance: ClassVar[float] = 1e-4
    """How far scores may differ that should be the same but are computed in other batches."""

    _scorer: ClassVar[Any] = None

    @property
    def shop(self) -> ToyShop:
        """The toy shop that the scorer is fitted on."""
        return _contract_shop()

    @property
    def scorer(self) -> Any:
        """The fitted scorer."""
        if "_scorer" not in type(self).__dict__:
            type(self)._scorer = self.fitted(self.shop)
        return self._scorer

    def fitted(self, shop: ToyShop) -> Any:
        """One of your scorers, fitted."""
        scorer = type(self).make()
        if hasattr(scorer, "fit"):
            result = scorer.fit(shop.catalog, shop.events)
            assert result is scorer, f"fit returned {type(result).__name__}; return self, so that calls can be chained"
        return scorer

    def users(self, count: int = 6) -> Interactions:
        """Some customers of the shop, and one without events."""
        ids = self.shop.events.user_ids
        return self.shop.events.of_users([*ids[:count], "nobody yet"])

    def scores(self, users: Interactions, item_ids: list[str] | None = None, scorer: Any = None) -> np.ndarray:
        """The scores of the whole catalog, or of some items."""
        items = list(self.shop.catalog.item_ids) if item_ids is None else item_ids
        return np.asarray((scorer or self.scorer).score(users, items))

    def same(self, first: np.ndarray, second: np.ndarray, what: str) -> None:
        """Fails unless both are equal within the tolerance."""
        assert first.shape == second.shape, f"{what}: the shapes are {first.shape} and {second.shape}"
        equal = np.isclose(first, second, rtol=self.tolerance, atol=self.tolerance, equal_nan=True)
        worst = (
            "" if first.shape != second.shape or equal.all() else f", e.g. {first[~equal][0]} and {second[~equal][0]}"
        )
        assert equal.all(), f"{what}: {int((~equal).sum())} of {equal.size} scores differ{worst}"

    def test_scores_are_float32_users_by_items(self) -> None:
        scores = self.scores(self.users())
        wanted = (7, len(self.shop.catalog))
        assert scores.shape == wanted, f"7 users and {wanted[1]} items gave scores of shape {scores.shape}"
        assert scores.dtype == np.float32, f"scores are {scores.dtype}, wanted float32"

    def test_every_item_of_the_catalog_has_a_score(self) -> None:
        scores = self.scores(self.users())
        assert not np.isnan(scores).any(), "NaN is for items outside the catalog; use -inf for what must not be listed"
        assert (scores < np.inf).all(), "a score is +inf"
        assert np.isfinite(scores).any(axis=1).all(), "a user has no item with a finite score"

    def test_an_unknown_item_is_nan(self) -> None:
        known = list(self.shop.catalog.item_ids[:3])
        scores = self.scores(self.users(), [known[0], "no such item", *known[1:]])
        assert np.isnan(scores[:, 1]).all(), "an item outside the catalog must be NaN, not a silent number"
        self.same(np.delete(scores, 1, axis=1), self.scores(self.users(), known), "beside an unknown item")

    def test_rows_follow_the_users(self) -> None:
        users = self.users()
        backwards = users.of_users(users.user_ids[::-1])
        self.same(self.scores(backwards)[::-1], self.scores(users), "rows must be in the order of users.user_ids")

    def test_columns_follow_the_items(self) -> None:
        items = list(self.shop.catalog.item_ids)
        order = np.random.default_rng(0).permutation(len(items))
        mixed = self.scores(self.users(), [items[row] for row in order])
        self.same(mixed, self.scores(self.users())[:, order], "columns must be in the order of item_ids")

    def test_a_user_without_events_gets_scores(self) -> None:
        nobody = Interactions.from_mapping({"nobody yet": []})
        alone = self.scores(nobody)
        assert alone.shape == (1, len(self.shop.catalog)), f"one user without events gave shape {alone.shape}"
        assert np.isfinite(alone).any(), "a user without events must get a ranking"
        self.same(alone, self.scores(self.users())[-1:], "a user without events, alone and among others")

    def test_asking_twice_gives_the_same(self) -> None:
        first, second = self.scores(self.users()), self.scores(self.users())
        assert np.array_equal(first, second), "scoring has changed the scorer, or draws random numbers"

    def test_users_do_not_depend_on_each_other(self) -> None:
        users = self.users()
        single = np.concatenate([self.scores(users.of_users([user])) for user in users.user_ids])
        self.same(single, self.scores(users), "users one by one and in a batch")

    def test_a_new_name_changes_nothing(self) -> None:
        users = self.users(1)
        bought = users.frame["item_id"].to_list()
        stranger = Interactions.from_mapping({"a stranger": bought})
        again = Interactions.from_mapping({"another": bought})
        self.same(self.scores(stranger), self.scores(again), "two strangers with the same events")

    def test_nothing_given_is_changed(self) -> None:
        catalog, events, users = self.shop.catalog, self.shop.events, self.users()
        items = list(catalog.item_ids)
        # Made anew: fingerprints are remembered.
        before = [Catalog(catalog.frame.clone(), catalog.report).fingerprint, _fingerprint(events), _fingerprint(users)]
        self.scores(users, items)
        after = [Catalog(catalog.frame.clone(), catalog.report).fingerprint, _fingerprint(events), _fingerprint(users)]
        assert before == after, "fit or score has changed the catalog or the events"
        assert items == list(catalog.item_ids), "score has changed the list of item ids"

    def test_it_can_be_fitted_again(self) -> None:
        scorer = self.fitted(self.shop)
        if not hasattr(scorer, "fit"):
            return
        small = toy_shop(users=24, items_per_department=6, purchases=5, seed=1)
        scorer.fit(small.catalog, small.events)
        items = [*small.catalog.item_ids, self.shop.catalog.item_ids[-1]]
        scores = self.scores(small.events, items, scorer)
        assert scores.shape == (24, 25), f"after a second fit 24 users and 25 items gave shape {scores.shape}"
        assert np.isnan(scores[:, -1]).all(), "after a second fit an item of the first catalog is still known"
        assert not np.isnan(scores[:, :-1]).any(), "after a second fit an item of its catalog is unknown"

    def test_what_is_saved_is_what_is_loaded(self) -> None:
        if not (hasattr(self.scorer, "save") and hasattr(self.scorer, "load")):
            return
        with tempfile.TemporaryDirectory() as folder:
            self.scorer.save(Path(folder) / "saved")
            loaded = type(self.scorer).load(Path(folder) / "saved")
            again = self.scores(self.users(), scorer=loaded)
        self.same(again, self.scores(self.users()), "saved and loaded")


def _fingerprint(events: Interactions) -> str:
    return Interactions(events.frame.clone(), events.report, events.user_ids, events.timed).fingerprint
