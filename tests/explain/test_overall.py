"""A head with planted weights is told by its channels."""

import numpy as np
import pytest

from recllm.explain.overall import Overall, influences

NAMES = ("history", "text", "popularity")
WEIGHTS = np.array([3.0, 1.0, 0.0], dtype=np.float32)


def head(channels: np.ndarray) -> np.ndarray:
    scores: np.ndarray = np.einsum("uci,c->ui", channels, WEIGHTS)
    return scores


@pytest.fixture
def channels() -> np.ndarray:
    scores = np.random.default_rng(0).normal(size=(50, 3, 400)).astype(np.float32)
    return (scores - scores.mean(axis=2, keepdims=True)) / scores.std(axis=2, keepdims=True)


def test_shares_follow_the_weights(channels: np.ndarray) -> None:
    found = influences(head, channels, np.ones((50, 400), dtype=bool), NAMES, n=10, known=5)
    assert [one.channel for one in found] == list(NAMES)
    assert sum(one.share for one in found) == pytest.approx(1.0)
    assert found[0].share == pytest.approx(0.9, abs=0.05)  # 3² to 1²: where the heavy channel is high, too
    assert (found[2].share, found[2].replaced) == (0.0, 0.0)
    assert found[0].replaced > found[1].replaced > 0
    assert {(one.known, one.users) for one in found} == {(5, 50)}


def test_what_may_not_be_listed_does_not_count(channels: np.ndarray) -> None:
    eligible = np.ones((50, 400), dtype=bool)
    best = head(channels).argmax(axis=1)
    eligible[np.arange(50), best] = False
    channels[np.arange(50), 2, best] = 99.0
    assert influences(head, channels, eligible, NAMES, n=1, known=5)[-1].share == 0.0


def test_a_head_that_says_nothing(channels: np.ndarray) -> None:
    found = influences(lambda scores: scores[:, 0] * 0, channels, np.ones((50, 400), dtype=bool), NAMES, n=3, known=0)
    assert {one.share for one in found} == {0.0}
    overall = Overall(tuple(found), {name: name for name in NAMES}, 3)
    assert str(overall) == "With nothing known of a user, the ranking weighs nothing."


def test_words(channels: np.ndarray) -> None:
    found = influences(head, channels, np.ones((50, 400), dtype=bool), NAMES, n=10, known=1)
    text = str(Overall(tuple(found), {"history": "the past", "text": "texts", "popularity": "what is popular"}, 10))
    assert text.startswith("With one event known of a user, the ranking weighs the past (")
    assert "Without the past, " in text
    assert "popular" not in text
