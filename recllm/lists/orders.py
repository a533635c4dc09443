"""By what lists are ordered: what a user's history says, how alike texts are, or the ratings that are expected."""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from recllm.data.doors import one_of
from recllm.data.histories import Histories
from recllm.encoders.lora import UserLora
from recllm.errors import ConfigError
from recllm.model.model import Model
from recllm.ranking.ratings.ratings import Ratings

__all__ = [
    "ORDERS",
    "By",
    "average_of",
    "checked_order",
    "leading_channels",
    "ordered_scores",
    "predicted",
    "ratings_in",
]

By = Literal["history", "similarity", "rating"]

Rows = Int[Tensor, "users width"] | None
Channels = Float[Tensor, "users channels width"]
Order = Callable[[Model, Histories, Channels, UserLora | None, Rows], Tensor]
"""From a batch of users and their items (None: all) to float32 [users, width], higher is better and all finite."""


def by_history(
    model: Model, histories: Histories, channels: Channels, lora: UserLora | None, rows: Rows
) -> Float[Tensor, "users width"]:
    """The ranking head's scores, which weigh all channels."""
    return model.rank(histories, channels, lora, rows)


def by_similarity(
    model: Model, histories: Histories, channels: Channels, lora: UserLora | None, rows: Rows
) -> Float[Tensor, "users width"]:
    """How like an item's text is to what the user liked; who liked nothing gets what the ranking head says."""
    scores = channels[:, model.channels.names.index("text")].clone()
    silent = ~scores.any(dim=1)
    if bool(silent.any()):
        scores[silent] = model.rank(histories, channels, lora, rows)[silent]
    return scores


def by_rating(
    model: Model, histories: Histories, channels: Channels, lora: UserLora | None, rows: Rows
) -> Float[Tensor, "users width"]:
    """What the user would rate an item."""
    ratings = predicted(model, histories)
    return ratings if rows is None else ratings.gather(1, rows)


def predicted(model: Model, histories: Histories) -> Float[Tensor, "users items"]:
    """What users would rate all items."""
    return torch.from_numpy(ratings_in(model).predict(histories).astype(np.float32))


ORDERS: dict[str, Order] = {"history": by_history, "similarity": by_similarity, "rating": by_rating}


def ratings_in(model: Model) -> Ratings:
    """What predicts ratings.

    Raises:
        ConfigError: They were not learned.
    """
    if model.ratings is None:
        raise ConfigError(
            'this recommender has not learned what ratings will be; fit one with RecommenderConfig(objective="rating").'
        )
    return model.ratings


def checked_order(by: object) -> By:
    """One of the ways to order a list.

    Raises:
        ConfigError: It is none.
    """
    return one_of(by, get_args(By), "by")  # type: ignore[return-value]


def ordered_scores(
    by: By, model: Model, histories: Histories, channels: Channels, lora: UserLora | None, rows: Rows
) -> Float[Tensor, "users width"]:
    """What lists of these users are ordered by, before wishes.

    Args:
        by: Which order.
        model: What answers.
        histories: What is known of the users.
        channels: Standardised scores of their items.
        lora: The users' adapters.
        rows: The items; None: all.

    Raises:
        ConfigError: This model cannot order lists so.
    """
    if by == "similarity" and "text" not in model.channels.names:
        raise ConfigError('by="similarity" needs the channel "text", which this model was fitted without.')
    with torch.no_grad():
        return ORDERS[by](model, histories, channels, lora, rows)


def average_of(by: By, model: Model, histories: Histories, lora: UserLora | None) -> Float[Tensor, "users"]:
    """What the average item has in such an order."""
    if by == "rating":
        return predicted(model, histories).mean(dim=1)
    average = model.average(histories, lora)
    return average * torch.from_numpy(~(histories.lengths > 0)) if by == "similarity" else average


def leading_channels(by: By, names: Sequence[str], channels: Float[Tensor, "channels items"]) -> Int[Tensor, "items"]:
    """The number of the channel that says most for each item; in a list by one channel it is that one."""
    if by == "similarity":
        text = names.index("text")
        if bool(channels[text].any()):
            return torch.full((channels.shape[1],), text)
    return channels.argmax(dim=0)
