"""The channels that bring candidates and that the ranking head weighs: each scores every item for every user."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Annotated, final

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from recllm.artifact.arrays import SavedArrays
from recllm.config import Count, Filled, Positive, checked
from recllm.data.histories import Histories
from recllm.data.saved import LATEST
from recllm.errors import ArtifactError
from recllm.retrieval.company import Company
from recllm.retrieval.cooccurrence import Cooccurrence
from recllm.retrieval.profiles import SMALLEST_SPREAD, InSpace, Profile, Shared, Space, Sparse, standardised

CHANNELS = ("history", "text", "company", "cooccurrence", "liked", "following", "popularity", "trend", "recent")
"""history: the user vector · text: whitened text similarity to liked items · company: co-occurrence as far as text
predicts it · cooccurrence: items taken by the same people, over all events · liked: the same over liked events only ·
following: what others liked soon after the same events · popularity: distinct users · trend: popularity at the time of
the user's newest event · recent: popularity when the recommendation is asked for."""

IN_WORDS = {
    "history": "the order of their events, read by the transformer",
    "text": "texts like those of what they liked",
    "company": "what such texts are usually taken with",
    "cooccurrence": "what the same people take",
    "liked": "what the same people like",
    "following": "what others liked soon after the same events",
    "popularity": "what is popular",
    "trend": "what was popular when they were last here",
    "recent": "what is popular now",
}
"""The channels for people who read a reason: after "the ranking weighs"."""

OF_TEXT = ("text", "company")
"""What these say of an item rests on its text alone, so they know new items as well."""

TREND_BINS = 64
"""Moments at which popularity is remembered; equally many events lie between two."""

MOST_EVENTS = 1e12
"""No log has more."""


@final
@dataclass(frozen=True)
@checked
class RetrievalConfig:
    """How candidates are found.

    Attributes:
        per_channel: Candidates taken from each channel.
        neighbours: Co-occurring items remembered per item.
        regularisation: λ of EASE, one to choose from by validation or a fixed one.
        shrinkage: Of what follows what. Little: popular items have channels of their own.
        half_lives: Shares of the log after which an event counts half in what is popular at a moment; to choose from.
    """

    per_channel: Count = 200
    neighbours: Count = 256
    regularisation: Annotated[tuple[Positive, ...], Filled()] = (50.0, 200.0, 800.0)
    shrinkage: Positive = 10.0
    half_lives: Annotated[tuple[Positive, ...], Filled()] = (0.05, 0.1)


@final
@dataclass(frozen=True)
class Trend:
    """Popularity as it was at a moment: recent events count more.

    After the end of the log nobody knows what is popular, and what was popular then says less the longer ago it is: it
    fades towards the popularity of all times, by half in each half-life.

    Attributes:
        ends: Last timestamp of each bin, float64 [bins].
        counts: float32 [bins + 1, items], decayed counts of liked events up to the end of the bin before.
        total: float32 [items], liked events of all times.
        half_life: Seconds of the newest half-life.
    """

    ends: np.ndarray
    counts: np.ndarray
    total: np.ndarray
    half_life: float

    @classmethod
    def fit(cls, histories: Histories, items: int, half_life: float = 0.1) -> "Trend":
        """Bins hold equally many liked events of `histories`; an event counts half after this share of them."""
        liked = histories.signals > 0
        times, rows = histories.timestamps[liked], histories.item_rows[liked]
        total = np.bincount(rows, minlength=items).astype(np.float32)
        if not len(times):
            return cls(np.zeros(1), np.zeros((2, items), dtype=np.float32), total, 1.0)
        ends = np.unique(np.quantile(times, np.linspace(0, 1, TREND_BINS + 1)[1:], method="lower"))
        fresh = np.zeros((len(ends) + 1, items), dtype=np.float32)
        np.add.at(fresh, (np.searchsorted(ends, times) + 1, rows), 1.0)
        memory = 0.5 ** (1 / (half_life * TREND_BINS))
        for bin_ in range(1, len(fresh)):
            fresh[bin_] += memory * fresh[bin_ - 1]
        begun = np.quantile(times, max(1 - half_life, 0.0), method="lower")
        return cls(ends, fresh, total, max(float(ends[-1] - begun), 1.0))

    def at(self, timestamps: np.ndarray) -> np.ndarray:
        """float32 [moments, items]: events of bins that were over by then; before all data, the latest."""
        over = np.searchsorted(self.ends, timestamps, side="right")
        latest = len(self.ends)
        counts = self.counts[np.where(over == 0, latest, over)]
        late = np.flatnonzero(timestamps > self.ends[-1])
        if len(late) and self.total.any():
            fresh = 0.5 ** ((timestamps[late] - self.ends[-1]) / self.half_life)
            usual = self.total * (self.counts[-1].sum() / self.total.sum())
            counts[late] = usual + fresh[:, None].astype(np.float32) * (self.counts[-1] - usual)
        return counts

    def profile(self, timestamps: np.ndarray) -> Shared:
        """The logarithm of `at`; who asks at the same moment shares it."""
        bins = np.where(timestamps > self.ends[-1], timestamps, self.ends[0] - 1 - len(self.ends))
        inside = timestamps <= self.ends[-1]
        bins[inside] += np.searchsorted(self.ends, timestamps[inside], side="right")
        _, first, row = np.unique(bins, return_index=True, return_inverse=True)
        return Shared(torch.from_numpy(np.log1p(self.at(timestamps[first]))), torch.from_numpy(row))

    @property
    def end(self) -> float:
        """When the log ends, unix seconds."""
        return float(self.ends[-1])

    def extended(self, items: int) -> "Trend":
        """The same over a catalog that has grown to `items`; nobody took the new ones yet."""
        fresh = items - len(self.total)
        counts = np.pad(self.counts, ((0, 0), (0, fresh)))
        return replace(self, counts=counts, total=np.pad(self.total, (0, fresh)))


@final
@dataclass(frozen=True)
class Channels:
    """What the channels remember of the training users.

    Attributes:
        text: Whitened unit text vectors, float32 [items, dim].
        popularity: Distinct training users with a liked event, float32 [items].
        trend: Popularity over time.
        cooccurrence: Over all events.
        liked: Over liked events; None where every event is liked.
        following: What is liked soon after what; None where nothing follows, as in a log without times.
        company: Co-occurrence as text predicts it; None where nothing is known to predict.
        ridge: Where set, a user's text vector is not the mean of the liked ones but the ridge regression that tells
            them from the rest of the catalog, which whitening has centred; for catalogs without events.
        newcomers: What orders the items for users of whom nothing is known, float32 [items]; None where the head,
            which weighs what is popular and what is so now, does that better.
    """

    text: Tensor
    popularity: np.ndarray
    trend: Trend
    cooccurrence: Cooccurrence
    liked: Cooccurrence | None
    following: Cooccurrence | None = None
    company: Company | None = None
    ridge: float | None = None
    newcomers: np.ndarray | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The channels in use, in the order of `scores`."""
        return tuple(name for name in CHANNELS if getattr(self, name, self) is not None)

    @cached_property
    def space(self) -> Space:
        """The space of item texts."""
        return Space(self.text)

    def scores(
        self,
        histories: Histories,
        users: Float[Tensor, "users width"],
        items: Space,
        asked_at: np.ndarray | None = None,
    ) -> Float[Tensor, "users channels items"]:
        """Each channel's scores over the whole catalog, brought to mean 0 and spread 1 per user.

        A channel that knows nothing of a user scores 0 everywhere: without events only popularity, trend and recent
        speak.

        Args:
            histories: What is known of the users.
            users: Their vectors.
            items: Item vectors.
            asked_at: When each user asks, unix seconds [users]; None: now, which is when the training log ends or, if
                that is later, when they were last seen.
        """
        profiles = self.profiles(histories, users, items, asked_at)
        return torch.stack([standardised(profile.all()) for profile in profiles], dim=1)

    def scores_at(
        self,
        histories: Histories,
        users: Float[Tensor, "users width"],
        items: Space,
        asked_at: np.ndarray,
        columns: Int[Tensor, "columns"],
        own: Int[Tensor, "users"],
    ) -> Float[Tensor, "users channels columns_and_own"]:
        """As `scores`, of each user's own item, which comes first, and of a few items."""
        profiles = self.profiles(histories, users, items, asked_at)
        return torch.stack([profile.standardised_at(columns, own) for profile in profiles], dim=1)

    def profiles(
        self,
        histories: Histories,
        users: Float[Tensor, "users width"],
        items: Space,
        asked_at: np.ndarray | None = None,
    ) -> list[Profile]:
        """What each channel in use says, in the order of `names`; for the arguments see `scores`."""
        some = histories.lengths > 0
        now = self.now(histories) if asked_at is None else asked_at.astype(np.float64)
        last_seen = now.copy()  # of whom nothing is known
        last_seen[some] = histories.timestamps[histories.offsets[1:][some] - 1]
        nobody = torch.zeros(len(histories), dtype=torch.long)
        found: dict[str, Profile] = {
            "history": InSpace(users * torch.from_numpy(some).unsqueeze(1), items),
            "text": self.text_profile(binary_matrix(histories, len(self.text), liked_only=True)),
            "cooccurrence": Sparse(cooccurrence_products(self.cooccurrence, histories, liked_only=False)),
            "popularity": Shared(torch.from_numpy(np.log1p(self.popularity)).unsqueeze(0), nobody),
            "trend": self.trend.profile(last_seen),
            "recent": self.trend.profile(now),
        }
        if self.liked is not None:
            found["liked"] = Sparse(cooccurrence_products(self.liked, histories, liked_only=True))
        if self.company is not None:
            known = binary_matrix(histories, len(self.text), liked_only=False)
            found["company"] = InSpace(self.company.users(known), self.space)
        if self.following is not None:
            found["following"] = Sparse(cooccurrence_products(self.following, histories, liked_only=False))
        return [found[name] for name in self.names]

    def now(self, histories: Histories) -> np.ndarray:
        """float64 [users]: the end of the training log or, if that is later, when a user was last seen."""
        now, some = np.full(len(histories), self.trend.end), histories.lengths > 0
        now[some] = np.maximum(now[some], histories.timestamps[histories.offsets[1:][some] - 1])
        return now

    def text_profile(self, liked: sparse.csr_array) -> InSpace:
        """A direction of text for each user, from the liked items; an item's score is the cosine."""
        if self.ridge is None:
            profile = torch.from_numpy(np.asarray(liked @ self.text.numpy(), dtype=np.float32))
        else:
            profile = ridge_directions(liked, self.text, self.ridge)
        return InSpace(torch.nn.functional.normalize(profile, dim=1), self.space)

    def text_scores(self, liked: sparse.csr_array) -> Float[Tensor, "users items"]:
        """Cosine between the mean text of the liked items and every item."""
        return self.text_profile(liked).all()

    def for_newcomers(self, scores: Float[Tensor, "users items"]) -> Float[Tensor, "users items"]:
        """The head's scores of users of whom nothing is known, in the order of `newcomers`; place and spread stay."""
        if self.newcomers is None:
            return scores
        counts = standardised(torch.from_numpy(np.log1p(self.newcomers)).unsqueeze(0))
        mean = scores.mean(dim=1, keepdim=True)
        spread = (scores - mean).square().mean(dim=1, keepdim=True).sqrt()
        return mean + counts * torch.where(spread > SMALLEST_SPREAD, spread, 1.0)

    def extended(self, text: Tensor) -> "Channels":
        """The same channels over a catalog that has grown to the items of `text`; new items have no past."""
        fresh = len(text) - len(self.text)
        return Channels(
            text=text,
            popularity=np.pad(self.popularity, (0, fresh)),
            trend=self.trend.extended(len(text)),
            cooccurrence=self.cooccurrence.extended(len(text)),
            liked=None if self.liked is None else self.liked.extended(len(text)),
            following=None if self.following is None else self.following.extended(len(text)),
            company=None if self.company is None else self.company.extended(text.numpy()),
            ridge=self.ridge,
            newcomers=None if self.newcomers is None else np.pad(self.newcomers, (0, fresh)),
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything to save, by name."""
        models = {"cooccurrence": self.cooccurrence, "liked": self.liked, "following": self.following}
        company = {} if self.company is None else vars(self.company)
        ridge = {} if self.ridge is None else {"ridge": np.array(self.ridge)}
        newcomers = {} if self.newcomers is None else {"newcomers": self.newcomers}
        return {
            **ridge,
            **newcomers,
            **{f"company.{name}": part for name, part in company.items()},
            "popularity": self.popularity,
            "trend.ends": self.trend.ends,
            "trend.counts": self.trend.counts,
            "trend.total": self.trend.total,
            "trend.half_life": np.array(self.trend.half_life),
        } | {
            key: part
            for name, model in models.items()
            if model is not None
            for key, part in _sparse_parts(name, model).items()
        }

    @classmethod
    def from_tensors(cls, saved: Mapping[str, np.ndarray], text: Tensor) -> "Channels":
        """The inverse of `tensors`; the text vectors are kept elsewhere.

        Raises:
            ArtifactError: Something is missing, too much, of another shape or out of range.
        """
        (items, dim), arrays = text.shape, SavedArrays("what the channels remember", saved)
        models = {
            name: _from_sparse_parts(name, arrays, items)
            for name in ("cooccurrence", "liked", "following")
            if name == "cooccurrence" or f"{name}.data" in arrays
        }
        company = None
        if "company.sources" in arrays:
            company = Company(arrays.floats("company.sources", items, dim), arrays.floats("company.of_text", dim, dim))
        channels = cls(
            text=text,
            popularity=arrays.floats("popularity", items, least=0, most=MOST_EVENTS),
            trend=_saved_trend(arrays, items),
            cooccurrence=models["cooccurrence"],
            liked=models.get("liked"),
            following=models.get("following"),
            company=company,
            ridge=arrays.number("ridge", 1e-6, 1e6) if "ridge" in arrays else None,
            newcomers=arrays.floats("newcomers", items, least=0, most=MOST_EVENTS) if "newcomers" in arrays else None,
        )
        arrays.all_taken()
        return channels


def ridge_directions(
    liked: sparse.csr_array, vectors: Float[Tensor, "items dim"], ridge: float
) -> Float[Tensor, "users dim"]:
    """`Pᵀ (P Pᵀ + ρI)⁻¹ 1` over each user's liked vectors P: what they share counts once, however often it occurs."""
    directions = torch.zeros(liked.shape[0], vectors.shape[1])
    for user, (start, stop) in enumerate(pairwise(liked.indptr.tolist())):
        own = vectors[torch.from_numpy(liked.indices[start:stop].astype(np.int64))]
        if len(own) <= own.shape[1]:
            weights = torch.linalg.solve(own @ own.T + ridge * torch.eye(len(own)), torch.ones(len(own)))
            directions[user] = own.T @ weights
        else:  # the same, in the smaller of the two spaces
            directions[user] = torch.linalg.solve(own.T @ own + ridge * torch.eye(own.shape[1]), own.sum(dim=0))
    return directions


def binary_matrix(histories: Histories, items: int, *, liked_only: bool) -> sparse.csr_array:
    """float32 CSR [users, items], 1 where the user has the item."""
    owner, rows = histories.user_rows, histories.item_rows
    if liked_only:
        keep = histories.signals > 0
        owner, rows = owner[keep], rows[keep]
    matrix = sparse.csr_array((np.ones(len(rows), dtype=np.float32), (owner, rows)), shape=(len(histories), items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def cooccurrence_scores(model: Cooccurrence, histories: Histories, *, liked_only: bool) -> Float[Tensor, "users items"]:
    """What item-item weights say of users, over the whole catalog."""
    return Sparse(cooccurrence_products(model, histories, liked_only=liked_only)).all()


def cooccurrence_products(model: Cooccurrence, histories: Histories, *, liked_only: bool) -> sparse.csr_array:
    """CSR [users, items]: what item-item weights say, a user's older events counting less by the model's decay."""
    items = model.weights.shape[1]
    if liked_only:
        histories = histories.drop_events(histories.signals > 0)
    if model.decay == 1:
        known = binary_matrix(histories, items, liked_only=False)
    else:
        weights = (model.decay**histories.newer).astype(np.float32)
        known = sparse.csr_array((weights, (histories.user_rows, histories.item_rows)), shape=(len(histories), items))
        known.sum_duplicates()
        np.minimum(known.data, 1.0, out=known.data)
    return sparse.csr_array(known @ model.weights)


def _sparse_parts(name: str, model: Cooccurrence) -> dict[str, np.ndarray]:
    weights = model.weights
    return {
        f"{name}.data": weights.data.astype(np.float32),
        f"{name}.indices": weights.indices.astype(np.int32),
        f"{name}.indptr": weights.indptr.astype(np.int64),
        f"{name}.decay": np.array(model.decay),
    }


def _from_sparse_parts(name: str, saved: SavedArrays, items: int) -> Cooccurrence:
    """Rows that begin where the last one ends, and columns inside the catalog: compiled code reads there unchecked."""
    data = saved.floats(f"{name}.data", None)
    indices = saved.integers(f"{name}.indices", len(data), least=0, below=items, dtype=np.int32)
    indptr = saved.integers(f"{name}.indptr", items + 1, least=0, below=len(data) + 1)
    if indptr[0] != 0 or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():
        raise ArtifactError(f"the rows of {name!r} do not follow each other")
    weights = sparse.csr_array((data, indices, indptr), shape=(items, items))
    return Cooccurrence(weights, saved.number(f"{name}.decay", 0.0, 1.0))


def _saved_trend(saved: SavedArrays, items: int) -> Trend:
    ends = saved.floats("trend.ends", None, least=0, most=LATEST, dtype=np.float64)
    if not len(ends) or (np.diff(ends) <= 0).any():
        raise ArtifactError("the ends of the bins of the trend are not in order")
    counts = saved.floats("trend.counts", len(ends) + 1, items, least=0, most=MOST_EVENTS)
    total = saved.floats("trend.total", items, least=0, most=MOST_EVENTS)
    return Trend(ends, counts, total, saved.number("trend.half_life", 1e-3, LATEST))
