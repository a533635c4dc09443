"""What in a user's history caused a recommendation, measured through the score itself.

The contribution of a history item j to a recommended item i is ``s(i | H) - s(i | H without j)``, where s is the score
that is served, computed again (adaptation included) on the shorter history. Nothing here knows how s works, so any
ranker can be explained.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from recllm.data.feedback import RATING_TOKENS, Feedback
from recllm.data.histories import Histories
from recllm.errors import DataError

Floats = NDArray[np.floating[Any]]
ScoreFunction = Callable[[Histories], Floats]
"""From histories to scores [histories, catalog items]: higher is better, and all of them are finite."""
ReasonCode = Literal["history", "popular", "cold_start", "weak"]

NEWEST = 50
MOST_CAUSES = 3
LEAST_SHARE = 0.2
LEAST_STRENGTH = 0.1
POPULAR_SHARE = 0.1


@dataclass(frozen=True)
class Cause:
    """A history item that pushed the recommendation up.

    Attributes:
        contribution: How much of the recommended item's score goes when this history item does.
        share: The contribution over the sum of all positive contributions.
        event: The name of the user's event with it, "rating" for a rating, None if the log does not say.
    """

    item_id: str
    title: str
    contribution: float
    share: float
    event: str | None = None


@dataclass(frozen=True)
class Evidence:
    """All that may be said about one recommendation; words are made from this and nothing else.

    Attributes:
        reason_code: "history" (the causes made it), "popular" (it would be there without the history, and is popular),
            "weak" (nothing can be named as its cause), "cold_start" (there is no history).
        causes: The cited history items, strongest first; empty unless the reason is "history".
        channel: What retrieved the item, if known.
        confidence: 0 to 1, how strongly the history speaks for the item: x / (1 + x), where x is the sum of positive
            contributions in standard deviations of the user's scores. 0 without a history.
        popularity_rank: Share of the catalog's items that are less popular, 0 to 1.
        popular: Whether the item is in the most popular tenth of the catalog.
        n_events: Events of the history.
        place: The item's place by score among those the user does not have yet, from 1, in the middle of equal ones.
            None without a history.
        place_without_history: The same, had the user no history.
    """

    user_id: str
    item_id: str
    reason_code: ReasonCode
    causes: tuple[Cause, ...]
    channel: str | None
    confidence: float
    popularity_rank: float
    popular: bool
    n_events: int
    place: int | None = None
    place_without_history: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The evidence in types that JSON knows."""
        return {**asdict(self), "causes": [asdict(cause) for cause in self.causes]}


@dataclass(frozen=True, eq=False)
class Contributions:
    """What leaving history items out changes, one at a time.

    Attributes:
        cause_rows: int64 [causes], the history items left out, oldest first; each once, with all of its events.
        values: [items, causes], how much each recommended item's score falls.
        average: [causes], the same, averaged over the whole catalog.
        scores: [catalog], with the whole history.
        empty_scores: [catalog], with no history.
    """

    cause_rows: NDArray[np.int64]
    values: Floats
    average: Floats
    scores: Floats
    empty_scores: Floats


def contributions(
    score: ScoreFunction, histories: Histories, user: int, item_rows: ArrayLike, newest: int = NEWEST
) -> Contributions:
    """Leave out each of the `newest` distinct history items and score again, in one call of `score`.

    Args:
        score: The served score.
        histories: Holds the user's whole history.
        user: The user's row in `histories`.
        item_rows: [items], catalog rows of the recommended items.
        newest: How many history items to try; older ones are never left out.

    Raises:
        DataError: An item row is not in the catalog.
    """
    items = np.asarray(item_rows, dtype=np.int64).reshape(-1)
    newest_first = histories.items_of(user)[::-1]
    _, first = np.unique(newest_first, return_index=True)
    causes = newest_first[np.sort(first)[:newest]][::-1]
    # Copy 0 stays whole, copy 1 loses everything, copy 2 + k loses cause k.
    copies = histories.of(np.full(len(causes) + 2, user))
    copy = np.repeat(np.arange(len(copies)), copies.lengths)
    lost = np.concatenate([[-1, -1], causes])[copy]
    scores = score(copies.drop_events((copy != 1) & (copies.item_rows != lost)))
    _check_rows(items, scores.shape[1])
    return Contributions(
        cause_rows=causes,
        values=scores[0, items][:, None] - scores[2:, items].T,
        average=scores[0].mean() - scores[2:].mean(axis=1),
        scores=scores[0],
        empty_scores=scores[1],
    )


def gather_evidence(
    score: ScoreFunction,
    histories: Histories,
    user: int,
    item_rows: ArrayLike,
    *,
    item_ids: Sequence[str],
    titles: Sequence[str],
    popularity: Floats,
    feedback: Feedback | None = None,
    channels: Sequence[str | None] | None = None,
) -> list[Evidence]:
    """The evidence for recommending `item_rows` to one user: one `Evidence` per row, in their order.

    A history item is cited if the user liked it (what was disliked or left the user cold may push an item up, but is
    not cited), if it is not the recommended item itself, and if its contribution is positive, above its average over
    the catalog (what lifts everything explains nothing) and a share of at least `LEAST_SHARE` of the positive
    contributions, or twice an even share, if that is less. At most `MOST_CAUSES` are cited.

    The evidence is weak if nothing can be cited, if the positive contributions add up to less than `LEAST_STRENGTH`
    standard deviations of the user's scores, or if the item would have the same or a better place without any history
    (except that the first place cannot be bettered). Weak evidence has the reason "popular" if the history did not
    lift the item and it is in the most popular `POPULAR_SHARE` of the catalog, else "weak".

    Args:
        score: The served score, before any diversity.
        histories: Holds the user's whole history.
        user: The user's row in `histories`.
        item_rows: [items], catalog rows of the recommended items, all known.
        item_ids: [catalog]
        titles: [catalog]
        popularity: [catalog], distinct users per item.
        feedback: Names the events of the history; without it, causes have no event.
        channels: [items], what retrieved each item.

    Raises:
        DataError: An item row is not in the catalog.
    """
    items = np.asarray(item_rows, dtype=np.int64).reshape(-1)
    _check_rows(items, len(item_ids))
    n_events = len(histories.items_of(user))
    found = contributions(score, histories, user, items) if n_events and len(items) else None
    evidence = []
    for number, item in enumerate(items.tolist()):
        rank, popular = _popularity(popularity, item)
        verdict = _COLD_START if found is None else _judge(found, histories, user, number, item, popular)
        causes = (
            Cause(str(item_ids[row]), str(titles[row]), gain, share, _event(token, feedback))
            for row, gain, share, token in verdict.cited
        )
        evidence.append(
            Evidence(
                user_id=str(histories.user_ids[user]),
                item_id=str(item_ids[item]),
                reason_code=verdict.reason_code,
                causes=tuple(causes),
                channel=channels[number] if channels is not None else None,
                confidence=verdict.confidence,
                popularity_rank=rank,
                popular=popular,
                n_events=n_events,
                place=verdict.place,
                place_without_history=verdict.place_without_history,
            )
        )
    return evidence


@dataclass(frozen=True)
class _Verdict:
    """`cited` has (item row, contribution, share, event token), strongest first."""

    reason_code: ReasonCode
    cited: tuple[tuple[int, float, float, int], ...] = ()
    confidence: float = 0.0
    place: int | None = None
    place_without_history: int | None = None


_COLD_START = _Verdict("cold_start")


def _judge(found: Contributions, histories: Histories, user: int, number: int, item: int, popular: bool) -> _Verdict:
    """Decide as `gather_evidence` describes; `number` is the item's line in `found.values`."""
    own = slice(histories.offsets[user], histories.offsets[user + 1])
    rows = histories.item_rows[own]
    last = {row: place for place, row in enumerate(rows.tolist())}
    events = np.array([last[row] for row in found.cause_rows.tolist()], dtype=np.int64)
    gains = np.where(found.cause_rows == item, 0, np.maximum(found.values[number], 0)).astype(np.float64)
    total = float(gains.sum())
    unseen = np.ones(len(found.scores), dtype=bool)
    unseen[rows] = False
    unseen[item] = True
    spread = float(found.scores[unseen].std())
    strength = total / spread if spread > 0 else 0.0
    before, now = (_place(scores[unseen], scores[item]) for scores in (found.empty_scores, found.scores))
    lifted = strength >= LEAST_STRENGTH and (now < before or now == 1)
    citable = (histories.signals[own][events] > 0) & (gains > found.average) if lifted else np.zeros(len(gains), bool)
    least = min(LEAST_SHARE, 2 / max(1, int((gains > 0).sum()))) * total
    # The newer cause goes first at a tie.
    strongest = len(gains) - 1 - np.argsort(-gains[::-1], kind="stable")
    cited = [j for j in strongest if citable[j] and gains[j] > 0 and gains[j] >= least][:MOST_CAUSES]
    tokens = histories.tokens[own][events]
    return _Verdict(
        "history" if cited else "popular" if popular and not lifted else "weak",
        tuple((int(found.cause_rows[j]), float(gains[j]), float(gains[j]) / total, int(tokens[j])) for j in cited),
        strength / (1 + strength),
        now,
        before,
    )


def _place(scores: Floats, score: Any) -> int:
    """From 1; in the middle of equal scores."""
    return 1 + int((scores > score).sum()) + (int((scores == score).sum()) - 1) // 2


def _popularity(popularity: Floats, item: int) -> tuple[float, bool]:
    n_items, n_less = len(popularity), int((popularity < popularity[item]).sum())
    # In a catalog of fewer than ten items, its popular tenth is the single most popular one.
    popular = popularity[item] > 0 and n_less >= n_items - max(POPULAR_SHARE * n_items, 1)
    return n_less / n_items, bool(popular)


def _event(token: int, feedback: Feedback | None) -> str | None:
    if feedback is None or token <= 0:
        return None
    if token <= RATING_TOKENS:
        return "rating"
    name = token - RATING_TOKENS - 1
    return feedback.event_names[name] if name < len(feedback.event_names) else None


def _check_rows(items: NDArray[np.int64], n_items: int) -> None:
    if np.any((items < 0) | (items >= n_items)):
        raise DataError(f"an item row is outside of the catalog's {n_items} rows; ask about items of the catalog only")
