"""Channels: what each says, that they say nothing about new users and items, and the union of what they bring."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from recllm.counts.cooccurrence import Cooccurrence
from recllm.counts.items import Clock, resolution_of
from recllm.counts.matrices import binary_matrix
from recllm.counts.next_liked import DECAY, next_liked
from recllm.counts.pairs import soon_after
from recllm.counts.trend import Popularity, Trend
from recllm.data.histories import Histories
from recllm.retrieval import candidates
from recllm.retrieval.channels.cooccurrence import LikedTogether, TakenTogether
from recllm.retrieval.channels.history import History
from recllm.retrieval.channels.next_liked import NextLiked
from recllm.retrieval.channels.popularity import Popular, PopularNow, PopularWhenLastSeen
from recllm.retrieval.channels.text import Text, ridge_directions
from recllm.retrieval.channels.text_cooccurrence import TextCooccurrence
from recllm.retrieval.profiles import standardised
from recllm.retrieval.scoring import Channels
from recllm.retrieval.space import Space


def histories() -> Histories:
    return Histories(
        ("a", "b", "nobody"),
        np.array([0, 3, 5, 5]),
        np.array([0, 1, 2, 1, 3]),
        np.array([10, 20, 30, 10, 40]),
        np.array([1, -1, 1, 1, 1], dtype=np.int8),
        np.zeros(5, dtype=np.int64),
    )


def trend_of(log: Histories, items: int = 6) -> Trend:
    return Trend.of(Clock.of(log, items, resolution_of(log.timestamps)))


def channels(items: int = 6) -> Channels:
    text = torch.nn.functional.normalize(torch.randn(items, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    matrix = binary_matrix(histories(), items, liked_only=False)
    model = Cooccurrence.fit(matrix, regularisation=1.0, neighbours=items)
    fitted = (
        History(),
        Text(),
        TextCooccurrence.of(model, text.numpy(), np.arange(items) < 4),
        TakenTogether(model),
        NextLiked(next_liked(soon_after(histories(), items), shrinkage=1.0, neighbours=items)),
        Popular(),
        PopularWhenLastSeen(),
        PopularNow(),
    )
    return Channels(text, Popularity(np.arange(items, dtype=np.float32), trend_of(histories(), items)), fitted)


def test_scores_are_standardised_and_silent_on_nobody() -> None:
    found = channels()
    scores = found.scores(histories(), torch.zeros(3, 4), Space(torch.zeros(6, 4)))
    assert scores.shape == (3, len(found.names), 6)
    by_name = dict(zip(found.names, scores.transpose(0, 1), strict=True))
    assert not by_name["history"].any()
    assert not by_name["cooccurrence"][2].any()
    assert not by_name["text"][2].any()
    assert not by_name["next_liked"][2].any()
    assert not by_name["text_cooccurrence"][2].any()
    assert by_name["text_cooccurrence"][0, 4:].any(), "it knows items without events"
    assert by_name["next_liked"][1].argmax() in (2, 3), "which were liked after 1"
    assert by_name["popularity"][2].argmax() == 5
    torch.testing.assert_close(by_name["text"][0].mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(by_name["text"][0].square().mean(), torch.tensor(1.0), atol=1e-4, rtol=0)


def test_the_best_scores_are_those_of_what_channels_bring_and_users_have_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found, nobody = channels(60), torch.zeros(3, 4)
    profiles = found.profiles(histories(), nobody, Space(torch.zeros(60, 4)))

    def best() -> torch.Tensor:
        return found.best_scores(profiles, histories(), 1, lambda said, rows: said.sum(dim=1))

    whole, everything = best(), found.scores(histories(), nobody, Space(torch.zeros(60, 4))).sum(dim=1)
    theirs = torch.from_numpy(binary_matrix(histories(), 60, liked_only=False).toarray() > 0)
    torch.testing.assert_close(whole, everything.masked_fill(theirs, -torch.inf))
    monkeypatch.setattr(candidates, "RANKED_WHOLE", 0)
    few = best()
    real = few > -torch.inf
    assert (real.sum(dim=1) < (~theirs).sum(dim=1)).any(), "of somebody, not all"
    torch.testing.assert_close(few[real], whole[real])
    assert torch.equal(few.argmax(dim=1), whole.argmax(dim=1))


def test_text_looks_at_likes_only() -> None:
    found = channels()
    said = found.profiles(histories(), torch.zeros(3, 4), Space(torch.zeros(6, 4)))[found.names.index("text")].all()
    profile = torch.nn.functional.normalize(found.text[0] + found.text[2], dim=0)
    torch.testing.assert_close(said[0], found.text @ profile)


def test_a_trend_knows_only_the_past() -> None:
    trend = trend_of(histories())
    early = trend.at(np.array([15]))[0]
    assert early[0] > 0
    assert early[3] == 0, "item 3 was first liked at 40"
    latest = trend.at(np.array([trend.end]))[0]
    assert latest[3] == latest.max()
    np.testing.assert_array_equal(trend.at(np.array([0]))[0], latest)


def test_no_moment_of_a_trend_counts_what_came_after_it() -> None:
    """Ten events between two moments that are remembered; item k is liked from time 10 k on."""
    items, events = 64, 640
    log = replace(
        histories(),
        user_ids=("a",),
        offsets=np.array([0, events]),
        item_rows=np.arange(events) // 10,
        timestamps=np.arange(events, dtype=np.float64),
        signals=np.ones(events, dtype=np.int8),
        tokens=np.zeros(events, dtype=np.int64),
        event_rows=np.arange(events),
        ratings=np.full(events, np.nan, dtype=np.float32),
    )
    moments = np.arange(20, events - 1, 3, dtype=np.float64)
    counts = trend_of(log, items).at(moments)
    future = 10 * np.arange(items)[None, :] > moments[:, None]
    assert not counts[future].any()
    assert (counts.argmax(axis=1) >= moments // 10 - 2).all(), "and the newest count most"


def test_of_whom_nothing_is_known_the_history_says_nothing() -> None:
    found = channels()
    space = Space(torch.randn(6, 4, generator=torch.Generator().manual_seed(1)))
    history = found.scores(histories(), torch.ones(3, 4), space)[:, found.names.index("history")]
    assert history[:2].any(dim=1).all()
    assert not history[2].any(), "the start token's vector is nobody's history"


def test_the_liked_channel_reads_liked_events_only() -> None:
    known = histories()
    weights = Cooccurrence(sparse.csr_array(np.eye(6, dtype=np.float32)))
    found = replace(channels(), fitted=(LikedTogether(weights),))
    profile = dict(zip(found.names, found.profiles(known, torch.zeros(3, 4), Space(torch.zeros(6, 4))), strict=True))
    assert profile["liked"].all()[0].tolist() == [1, 0, 1, 0, 0, 0], "1 was disliked"


def test_after_the_end_of_the_log_what_was_popular_fades_towards_all_times() -> None:
    trend = trend_of(histories())
    usual = trend.total / trend.total.sum()
    latest, half, never = (
        counts / counts.sum() for counts in trend.at(np.array([trend.end, trend.end + int(trend.half_life), 10**12]))
    )
    np.testing.assert_allclose(half, (latest + usual) / 2, rtol=0.05)
    np.testing.assert_allclose(never, usual, rtol=1e-5)


def test_recent_is_as_of_the_time_of_asking() -> None:
    found = channels()
    args = (histories(), torch.zeros(3, 4), Space(torch.zeros(6, 4)))
    places = [found.names.index(name) for name in ("trend", "recent")]
    (_, recent), (trend, now) = (
        found.scores(*args, asked_at=moment)[:, places].transpose(0, 1) for moment in (np.array([15, 15, 15]), None)
    )
    latest = standardised(torch.from_numpy(np.log1p(found.trend.at(np.array([found.trend.end])))))
    torch.testing.assert_close(now, latest.expand(3, -1))
    early = standardised(torch.from_numpy(np.log1p(found.trend.at(np.array([15])))))
    torch.testing.assert_close(recent, early.expand(3, -1))
    assert recent[0, 3] < now[0, 3], "item 3 was first liked at 40"
    # Of whom nothing is known, the newest event is as good as now.
    torch.testing.assert_close(trend[2], now[2])
    torch.testing.assert_close(found.scores(*args, asked_at=np.array([15, 15, 15]))[2, places[0]], early[0])


def test_moments_count_to_the_millisecond() -> None:
    known = histories()
    later = replace(known, timestamps=known.timestamps + 0.25)
    trend = trend_of(later)
    end = trend.end
    assert 40.25 < end < 40.28, "the moment of the newest event is over"
    # Item 3 was first liked at 40.25: it is news to whom asked before, in the same second or not.
    counts = trend.at(np.array([40.0, end]))
    assert counts[0, 3] < counts[1, 3]
    found = replace(channels(), popularity=Popularity(channels().popularity.liked, trend))
    assert found.now(later).tolist() == [end] * 3
    assert found.now(replace(later, timestamps=later.timestamps + 0.5)).tolist() == [end, 40.75, end]
    args = (later, torch.zeros(3, 4), Space(torch.zeros(6, 4)))
    recent = found.names.index("recent")
    before, after = (found.scores(*args, asked_at=np.full(3, moment))[0, recent, 3] for moment in (40, end))
    assert before < after


def test_tensors_round_trip() -> None:
    found = channels()
    again = Channels.from_tensors(found.tensors(), found.text, found.names)
    args = (histories(), torch.randn(3, 4), Space(torch.randn(6, 4)))
    torch.testing.assert_close(found.scores(*args), again.scores(*args))
    assert again.names == found.names


def test_new_items_have_no_past() -> None:
    found = channels()
    grown = found.extended(torch.cat([found.text, found.text[:1]]))
    assert grown.popularity.liked[-1] == 0
    assert not grown.trend.counts[:, -1].any()
    args = (histories(), torch.zeros(3, 4), Space(torch.zeros(7, 4)))
    raw = {name: profile.all() for name, profile in zip(grown.names, grown.profiles(*args), strict=True)}
    assert not raw["cooccurrence"][:, -1].any()
    assert not raw["next_liked"][:, -1].any()
    following = grown["next_liked"]
    assert isinstance(following, NextLiked)
    assert following.model.decay == DECAY
    torch.testing.assert_close(raw["text_cooccurrence"][:, -1], raw["text_cooccurrence"][:, 0], msg="by their text")
    assert grown.scores(*args).shape == (3, len(found.names), 7)


def test_older_events_count_less_by_the_decay() -> None:
    model = Cooccurrence(sparse.csr_array(np.eye(6, dtype=np.float32)), decay=0.5)
    scores = TakenTogether.scorer(model)(histories())
    assert scores[0].tolist() == [0.25, 0.5, 1, 0, 0, 0]
    # Of the liked events alone, one is newer than item 0.
    assert LikedTogether.scorer(model)(histories())[0].tolist() == [0.5, 0, 1, 0, 0, 0]


def test_constant_scores_become_zero() -> None:
    assert not standardised(torch.full((2, 5), 3.0)).any()


def test_a_ridge_direction_counts_what_is_shared_once() -> None:
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [1, 0.01, 0], [0, 1, 0], [0, 0, 1]]), dim=1)
    liked = sparse.csr_array(np.array([[1, 1, 1, 0], [0, 0, 0, 0]], dtype=np.float32))
    found = ridge_directions(liked, vectors, 1.0)
    own = vectors[:3]
    expected = torch.linalg.solve(own.T @ own + torch.eye(3), own.sum(dim=0))  # the primal form of the same
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-5)
    assert found[0, 0] / found[0, 1] < 2, "two alike do not count twice"
    assert not found[1].any()
    many = sparse.csr_array(np.ones((1, 4), dtype=np.float32))
    solved = vectors.T @ torch.linalg.solve(vectors @ vectors.T + torch.eye(4), torch.ones(4))
    torch.testing.assert_close(ridge_directions(many, vectors, 1.0)[0], solved, atol=1e-5, rtol=1e-5)
