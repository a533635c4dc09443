"""Protocols: how a log is cut into what may be learned from and what is asked, without anything leaking across.

- `users`: folds of users; the query is a user's newest whole timestamps with at least 10 events, the same for every K.
- `time`: everything before a moment is for learning; asked are users first seen after it, and, as an arm of its own,
  the next basket of users known before.
- `early`: like `users`, but the query follows a user's first 20 events: the early life of a newcomer.
- `prequential`: test users are followed through time, each next basket asked given all before it.
- `basket`: the last basket with repeats, items of the support included.
- `cold`: 15 % of the items are taken out of training and known by their text only; {known, new} users × {known, new}
  items.

Ties in time are broken by a hash of seed, user and item, never by an order that users share.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.cleaning import as_id_list
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.data.tasks import split_users
from recllm.errors import ConfigError, DataError
from recllm.evaluation.arms import Arm
from recllm.evaluation.asking import ASK, Made, few_shot, next_after
from recllm.evaluation.split import Split, part_of, repeats_of

SHOTS = (0, 1, 3, 5, 10, 20)
TEST_SHARE, VALIDATION_SHARE, COLD_SHARE = 0.2, 0.1, 0.15
MOST_VALIDATION_USERS = 400
FEWEST_TEST_USERS = 2


def make_splits(
    catalog: Catalog,
    events: Interactions,
    *,
    protocol: str = "users",
    shots: Sequence[int] = SHOTS,
    folds: int = 1,
    seed: int = 0,
    test_users: Sequence[str] | None = None,
    cut: float = 0.8,
    share: float = 1.0,
    liked_from: float | None = None,
    ratings: bool = False,
) -> list[Split]:
    """Cut a log into splits.

    Args:
        catalog: Items; events about others are left out.
        events: The log.
        protocol: `users`, `time`, `early`, `prequential`, `basket` or `cold`.
        shots: Support sizes K.
        folds: Disjoint groups of test users, one split each; with one fold a fifth of the users are asked.
        seed: Of the users' groups and of ties in time.
        test_users: Exactly these users are asked, instead of a group; needs one fold.
        cut: Protocol `time`: the share of the events that lie before the cut.
        share: Part of the training events that is kept, chosen by a hash: how methods cope with sparse data.
        liked_from: Lowest rating that counts as liking; None: inferred from the training events.
        ratings: Protocols `users`, `time` and `cold`: also ask those who like nothing of what they are asked about; no
            list can be measured on them, and ratings measured without them would come out too good.

    Raises:
        ConfigError: An option is unknown or out of range.
        DataError: Too few users or events, with the counts.
    """
    _check(protocol, shots, folds, test_users, cut, share)
    known = _in_order(events.known_items(catalog))
    maker = _Maker(catalog, known, protocol, tuple(sorted(set(shots))), seed, share, liked_from, ratings)
    if protocol == "time":
        if len(known) and not known.timed:
            raise DataError("protocol 'time' cuts at a moment, and this log has no timestamps; choose 'users'.")
        return [maker.by_time(cut)]
    groups = [tuple(as_id_list(test_users))] if test_users is not None else maker.groups(folds)
    return [maker.by_users(fold, group) for fold, group in enumerate(groups)]


def _check(
    protocol: str, shots: Sequence[int], folds: int, test_users: Sequence[str] | None, cut: float, share: float
) -> None:
    if protocol not in ASK and protocol != "time":
        known = ", ".join([*ASK, "time"])
        raise ConfigError(f"protocol {protocol!r} is unknown; choose one of {known}.")
    if not len(shots) or min(shots) < 0:
        raise ConfigError(f"shots are numbers of known events, at least one and none below 0; got {tuple(shots)}.")
    if folds < 1 or (test_users is not None and folds > 1):
        raise ConfigError(f"folds must be at least 1, and 1 where test_users are given; got {folds}.")
    if protocol == "time" and (folds > 1 or test_users is not None):
        raise ConfigError("protocol 'time' has one cut for everybody: leave folds at 1 and test_users out.")
    if not 0 < cut < 1 or not 0 < share <= 1:
        raise ConfigError(f"cut lies between 0 and 1, share above 0 and up to 1; got {cut} and {share}.")


@dataclass(frozen=True)
class _Maker:
    catalog: Catalog
    events: Interactions
    protocol: str
    shots: tuple[int, ...]
    seed: int
    share: float
    liked_from: float | None
    ratings: bool

    def groups(self, folds: int) -> list[tuple[str, ...]]:
        """The test users of each fold."""
        users = self.events.user_ids
        share = TEST_SHARE if folds == 1 else 1 / folds
        fractions = {str(fold): share for fold in range(folds)}
        parts = split_users(users, fractions, self.seed)
        return [tuple(users[row] for row in part) for part in parts.values()]

    def by_users(self, fold: int, group: tuple[str, ...]) -> Split:
        asked = self.events.of_users(sorted(set(group)))
        train = self.events.without_users(group)
        feedback = Feedback.infer(train.frame, self.liked_from)
        histories = self._histories(asked, feedback)
        cold = None
        if self.protocol == "cold":
            cold = part_of(np.arange(len(self.catalog)), COLD_SHARE, self.catalog, self.seed)
            arms, dropped, train = self._cold_arms(histories, train, feedback, cold)
        else:
            arms, dropped = self._ask(self.protocol, histories)
        arms = [arm if arm.log else replace(arm, log=asked) for arm in arms]
        return self._split(fold, train, feedback, arms, dropped, cold_items=cold)

    def _ask(self, protocol: str, histories: Histories) -> Made:
        if protocol in ASK and ASK[protocol] is not ASK["users"]:
            return ASK[protocol](histories, self.shots)
        return few_shot(protocol, histories, self.shots, liked=not self.ratings)

    def by_time(self, cut: float) -> Split:
        times = np.sort(self.events.frame["timestamp"].to_numpy())
        until = float(times[int(cut * len(times))]) if len(times) else 0.0
        train = self.events.before(until)
        feedback = Feedback.infer(train.frame, self.liked_from)
        known = set(train.user_ids)
        fresh = self.events.of_users(sorted(set(self.events.user_ids) - known))
        arms, dropped = self._ask("time", self._histories(fresh, feedback))
        both = self.events.of_users(sorted(known))
        later = next_after(self._histories(both, feedback), until, self.shots)
        arms = [replace(arm, log=fresh) for arm in arms] + [replace(arm, log=both) for arm in later]
        return self._split(0, train, feedback, arms, dropped, until=until)

    def _histories(self, events: Interactions, feedback: Feedback) -> Histories:
        repeats = repeats_of(self.protocol)
        return make_histories(events, self.catalog, feedback, seed=self.seed, repeats=repeats)

    def _cold_arms(
        self, strangers: Histories, train: Interactions, feedback: Feedback, cold: NDArray[np.bool_]
    ) -> tuple[list[Arm], dict[str, int], Interactions]:
        """The four cells; as many known users as strangers lose their query, all lose the cold items."""
        users = train.user_ids
        share = min(0.5, len(strangers) / max(len(users), 1))
        chosen = [users[row] for row in split_users(users, {"known": share}, self.seed + 1)["known"]]
        log = train.of_users(sorted(chosen))
        known = self._histories(log, feedback)
        arms: list[Arm] = []
        dropped: dict[str, int] = {}
        for name, histories in (("known user", known), ("new user", strangers)):
            found, lost = self._ask(name, histories)
            dropped |= {f"{name}: {reason}": count for reason, count in lost.items()}
            further: dict[str, Any] = {"strangers": True} if name == "new user" else {"strangers": False, "log": log}
            arms += [
                replace(arm, protocol=f"cold: {name}, {kind} item", candidates=which, **further)
                for kind, which in (("known", ~cold), ("new", cold))
                for arm in found
            ]
        asked = few_shot("", known, (0,), liked=not self.ratings)[0][0].query
        items, width = train.item_rows(self.catalog), len(self.catalog)
        row_of = {user: row for row, user in enumerate(users)}
        owner = np.array([row_of[user] for user in asked.user_ids], dtype=np.int64)[asked.user_rows]
        gone = cold[items] | np.isin(train.user_rows * width + items, owner * width + asked.item_rows)
        return arms, dropped, train.select(~gone)

    def _split(
        self,
        fold: int,
        train: Interactions,
        feedback: Feedback,
        arms: list[Arm],
        dropped: dict[str, int],
        **special: Any,
    ) -> Split:
        train = _thinned(train, self.share, self.seed)
        users = train.user_ids
        if len(users) < 3 or max((len(arm) for arm in arms), default=0) < FEWEST_TEST_USERS:
            raise DataError(self._too_few(train, arms, dropped))
        share = min(VALIDATION_SHARE, MOST_VALIDATION_USERS / len(users))
        parts = split_users(users, {"train": 1 - share, "validation": share}, self.seed)
        chosen = tuple(users[row] for row in parts["validation"])
        log = train.of_users(chosen)
        asked_like = "basket" if self.protocol == "basket" else "users"
        validation, _ = self._ask(asked_like, self._histories(log, feedback))
        if self.share < 1:
            label = f", {100 * self.share:g} % of events"
            arms = [replace(arm, protocol=f"{arm.protocol}{label}") for arm in arms]
        made = (self.protocol, fold, self.seed, self.catalog, feedback, train, chosen)
        exam, asked = tuple(replace(arm, log=log) for arm in validation), tuple(arm for arm in arms if len(arm))
        return Split(*made, exam, asked, dropped, share=self.share, **special)

    def _too_few(self, train: Interactions, arms: list[Arm], dropped: dict[str, int]) -> str:
        lost = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in dropped.items() if count)
        return (
            f"protocol {self.protocol!r} leaves {len(train.user_ids)} users with {len(train)} events to learn from and "
            f"{max((len(arm) for arm in arms), default=0)} users to ask (of {len(self.events.user_ids)} users with "
            f"{len(self.events)} known events{'; not asked: ' + lost if lost else ''}); at least 3 and "
            f"{FEWEST_TEST_USERS} are needed, and a few hundred of each for figures that mean something: users count "
            "who have 3 events or more, at 2 moments or more, with something liked at the end."
        )


# --- training events ---------------------------------------------------------------------------------------------


def _thinned(events: Interactions, share: float, seed: int) -> Interactions:
    """A share of the events by a hash of seed, user, item and time."""
    if share >= 1:
        return events
    frame = events.frame.select("user_id", "item_id", "timestamp")
    bar = int(share * 2**64)
    keep = [
        int.from_bytes(hashlib.sha256(f"{seed}\x00{user}\x00{item}\x00{time:.15g}".encode()).digest()[:8], "big") < bar
        for user, item, time in frame.iter_rows()
    ]
    return events.select(np.array(keep, dtype=bool))


def _in_order(events: Interactions) -> Interactions:
    """Sorted by user and time and all that tells two events apart, so that nothing depends on the order of a file."""
    further = [name for name in ("event", "rating", "weight") if name in events.frame.columns]
    frame = events.frame.with_row_index("\x00row")
    order = frame.sort("user_id", "timestamp", "item_id", *further, maintain_order=True)["\x00row"].to_numpy()
    return events.select(order.astype(np.int64))
