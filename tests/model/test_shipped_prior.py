"""The shipped prior's metric, measured again on customers of the shipped shop."""

import dataclasses
import hashlib
from copy import copy

import pytest

import recllm
from recllm.data.histories import make_histories
from recllm.data.tasks import make_tasks
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.validation import mean_ndcg
from recllm.ranking.head import RankingConfig, RankingHead


def by_hash(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()


@pytest.mark.slow
def test_the_shipped_prior_ranks_better_than_a_plain_sum_and_than_popularity() -> None:
    """Sixty customers are a shop, two hundred others are asked; its own users have no part in the prior's head."""
    catalog, events = recllm.load_demo()
    order = sorted(events.user_ids, key=by_hash)
    shop, others = events.of_users(order[:60]), events.of_users(order[60:260])
    config = dataclasses.replace(
        recllm.RecommenderConfig.demo(),
        training=BaseTrainingConfig(steps=20),
        ranking=RankingConfig(folds=1, tasks=200),
    )
    model = recllm.Recommender(config).fit(catalog, shop, options=recllm.TrainOptions(seed=0)).model
    tasks = make_tasks(make_histories(others, catalog, model.feedback, seed=0))

    def ndcg(head: RankingHead) -> float:
        other = copy(model)
        other.served = head.requires_grad_(False)
        return mean_ndcg(lambda known: other.scores(known, None), tasks, batch=model.batch_users)

    popular = RankingHead(model.head.channels, RankingConfig(hidden=1))
    popular.weights.bias.data = popular.weights.bias.data * 0
    popular.weights.bias.data[model.channels.names.index("popularity")] = 1.0
    prior, plain = ndcg(model.prior_head), ndcg(RankingHead(model.head.channels, RankingConfig()))
    assert prior > 1.1 * plain
    assert prior > 1.1 * ndcg(popular)
