"""What is named on the page, in a few words each: ways of asking, metrics, channels."""

from collections.abc import Mapping

from recllm.evaluation.names import CHANNEL
from recllm.retrieval.channels import CHANNELS

ASKED: Mapping[str, str] = {
    "users": "users that no part of training has seen",
    "time": "users first seen after a moment in time",
    "time: known users, next basket": "the next baskets of known users after a moment in time",
    "early": "what follows the first 20 events of users that training has not seen",
    "prequential": "the next baskets of users who are followed through time",
    "basket": "the last baskets of users that training has not seen, repeats included",
}
"""Whose lists a protocol judges."""

METRICS: Mapping[str, str] = {
    "NDCG@10": "how high the liked items stand in the list of 10: 1 if they come first, 0 if none is there",
    "Recall@10": "share of a user's liked items that the list of 10 holds",
    "Recall@20": "share of a user's liked items that the list of 20 holds",
    "Precision@10": "share of the list of 10 that the user liked",
    "F1@10": "harmonic mean of Precision@10 and Recall@10",
    "HR@10": "share of users with at least one liked item in the list of 10",
    "MRR@10": "1 over the place of the first liked item, 0 if there is none",
    "ΔNDCG@10": "NDCG@10 of the liked items minus that of the disliked ones",
    "Coverage@10": "share of the catalog that stands in anybody's list of 10",
    "Gini@10": "how unevenly items are listed: 0 all as often, 1 one alone",
    "Novelty@10": "how little known the listed items are: mean of −log2 of the share of users who have them",
    "ILD@10": "how different the items of one list are: mean of 1 − cosine of their words, over pairs",
    "Calibration@10": "how far the categories of the list are from those of the history (divergence in nats)",
    "Recall@200": "share of a user's liked items among the first 200 candidates",
    "MSE": "mean squared error of predicted ratings",
    "RMSE": "root of the mean squared error of predicted ratings",
    "MAE": "mean absolute error of predicted ratings",
    "Accuracy": "share of ratings that the rounded prediction hits",
    "Liked precision": "of what is predicted to be liked, the share that is",
    "Liked recall": "of what is liked, the share that was predicted to be",
    "Liked F1": "the harmonic mean of these two",
    "ms per user": "milliseconds to rank all items for one user",
    "bytes per user": "what is kept of one user beside the events",
}


def asked(protocol: str) -> str:
    """Whose lists are judged, in words; an unknown protocol is its own name."""
    return ASKED.get(protocol, protocol.removeprefix("cold: "))


def channel(method: str) -> str:
    """What a channel brings; nothing for one that is not known here, or what is no channel."""
    if not method.startswith(CHANNEL):
        return ""
    name = method.removeprefix(CHANNEL)
    if name == "union":
        return "all channels, taking turns: what the ranking chooses from"
    return CHANNELS[name].words if name in CHANNELS else ""
