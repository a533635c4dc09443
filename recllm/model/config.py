"""What people set: everything that shapes a recommender and is saved with it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from recllm.adaptation.meta import AdaptationConfig
from recllm.config import Number, Word, checked, read_toml, write_toml
from recllm.counts.private import PrivacyConfig
from recllm.data.attributes import Attributes
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.finetuning.config import FinetuneConfig
from recllm.encoders.history import HistoryEncoderConfig
from recllm.encoders.text import TextEncoderConfig
from recllm.errors import ConfigError
from recllm.prompting.template import prompt_domains
from recllm.ranking.head import RankingConfig
from recllm.ranking.ratings.ratings import RatingConfig
from recllm.retrieval.config import RetrievalConfig
from recllm.retrieval.people import ProfilesConfig

SENSITIVE = (
    "abortion",
    "addiction",
    "addiction & recovery",
    "adult",
    "adult only",
    "bankruptcy",
    "contraception",
    "debt relief",
    "erotic",
    "erotica",
    "fertility",
    "gay & lesbian",
    "hiv",
    "lgbt",
    "lgbtq",
    "mental health",
    "political",
    "politics",
    "pornography",
    "pregnancy tests",
    "religion",
    "religious",
    "sex",
    "sexual health",
    "sexual wellness",
    "sexuality",
    "std",
    "suicide",
    "trade unions",
    "weight loss",
)
"""Values of categories and other columns that a reason does not bring up, whole values without case."""


@final
@dataclass(frozen=True)
@checked
class ExplanationConfig:
    """What reasons may name.

    Attributes:
        never_cite: Ids of items, and values of categories or other columns, that no reason names.
        sensitive: The same, for topics that embarrass in most places; replace it by your own list.
    """

    never_cite: tuple[Word, ...] = ()
    sensitive: tuple[Word, ...] = SENSITIVE

    def forbids(self, value: str) -> bool:
        """Whether a value of a column may not be named."""
        return value.strip().casefold() in self._values

    @property
    def _values(self) -> frozenset[str]:
        return frozenset(value.strip().casefold() for value in (*self.never_cite, *self.sensitive))

    def private_items(self, attributes: Attributes) -> NDArray[np.bool_]:
        """bool [items]: items that no reason names."""
        private = np.zeros(len(attributes.catalog), dtype=bool)
        listed = attributes.catalog.rows(self.never_cite)
        private[listed[listed >= 0]] = True
        for (_, value), rows in attributes.rows_of.items():
            if self.forbids(value):
                private[rows] = True
        return private


@final
@dataclass(frozen=True)
@checked
class RecommenderConfig:
    """Everything that shapes a recommender, and is saved with it.

    Attributes:
        text: How item text becomes vectors.
        history: The transformer over events.
        training: Base training.
        adaptation: How a user's own adapter is learned; None for the base alone.
        retrieval: Channels and candidates.
        ranking: The head.
        finetune: `lora` fine-tunes the text encoder on the catalog and keeps it frozen where that does not pay.
        finetuning: How.
        liked_from: Lowest rating that counts as liking; None: 4 on a scale of 5, and alike on others.
        domain: Whose words reasons use: `neutral`, `ecommerce`, `social`, `education` or `finance`.
        explanation: What reasons may not name.
        prior: A ranking head that has seen many shops, from which the shop's own starts: `shop-prior` came with
            recllm, else the folder of another one. None: the head knows this shop only.
        objective: `ranking` learns what is taken next; `rating` also learns what ratings will be, for
            `predict_ratings` and lists by rating.
        rating: How.
        profiles: Which fields of users' profiles are read.
        privacy: Noise over all that is counted of people; what it covers, and what it does not, is in docs/privacy.md
            and in the card. None: sums are exact.
        keep_histories: Whether users' events are remembered. Without, only sums over all users and the weights are:
            users bring their own history, and whoever shall be forgotten has to bring it, too.
    """

    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    history: HistoryEncoderConfig = field(default_factory=HistoryEncoderConfig)
    training: BaseTrainingConfig = field(default_factory=BaseTrainingConfig)
    adaptation: AdaptationConfig | None = field(default_factory=AdaptationConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    ranking: RankingConfig = field(default_factory=RankingConfig)
    finetune: Literal["none", "lora"] = "none"
    finetuning: FinetuneConfig = field(default_factory=FinetuneConfig)
    liked_from: Number | None = None
    domain: str = "neutral"
    explanation: ExplanationConfig = field(default_factory=ExplanationConfig)
    prior: str | None = "shop-prior"
    keep_histories: bool = True
    objective: Literal["ranking", "rating"] = "ranking"
    rating: RatingConfig = field(default_factory=RatingConfig)
    profiles: ProfilesConfig = field(default_factory=ProfilesConfig)
    privacy: PrivacyConfig | None = None

    def __post_init__(self) -> None:
        if self.domain not in prompt_domains():
            raise ConfigError(f"domain {self.domain!r} is unknown; choose one of {', '.join(prompt_domains())}.")

    @property
    def recounts(self) -> bool:
        """Whether pairs of items can be counted again from what is remembered, so that they need not be saved."""
        return self.keep_histories and self.privacy is None

    @classmethod
    def read(cls, path: str | Path) -> "RecommenderConfig":
        """From a TOML file; what it leaves out keeps its default.

        Raises:
            ConfigError: An unknown key or a wrong value; the message lists what is known.
        """
        return read_toml(cls, path)

    def write(self, path: str | Path) -> None:
        """To a TOML file that `read` reads."""
        write_toml(self, path)

    @classmethod
    def demo(cls) -> "RecommenderConfig":
        """A profile that learns the shipped shop in about three minutes on two cores."""
        return cls(
            text=TextEncoderConfig(prompt="item.ecommerce", max_tokens=48),
            training=BaseTrainingConfig(steps=250),
            adaptation=None,
            domain="ecommerce",
        )
