"""What a recommender answers from: one value that never changes, so that a call sees the same model to its end."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeVar, final

import numpy as np
import polars as pl
import torch
from torch import Tensor

from recllm.adaptation.adapters import Kept
from recllm.adaptation.drift import Drift
from recllm.adaptation.own import OwnStep
from recllm.adaptation.prior import open_prior
from recllm.data.catalog import Catalog
from recllm.data.doors import Items, items_of, read_users
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.data.memory import Memory
from recllm.data.trained import TrainedOn
from recllm.encoders.text import TextEncoder, describe_items
from recllm.errors import DataError
from recllm.model.config import RecommenderConfig
from recllm.model.counted import Counted, counted_pairs
from recllm.model.freshness import Freshness, half_life
from recllm.model.grown import grown as model_grown
from recllm.model.model import Model
from recllm.model.moments import Moments, tasks_of
from recllm.model.report import FitReport

T = TypeVar("T")


@final
@dataclass(frozen=True, eq=False)
class Fitted:
    """A model and what is remembered of users. Learning, remembering and forgetting make the next one.

    What is looked up in it is looked up once; two threads that do so at the same time find the same.

    Attributes:
        config: Hyper-parameters.
        model: The fitted parts.
        memory: Events of users.
        trained: Whom the weights were learned from.
        report: What fitting saw.
        seed: Of ties.
        counted: What is counted of users.
    """

    config: RecommenderConfig
    model: Model
    memory: Memory
    trained: TrainedOn
    report: FitReport
    seed: int
    counted: Counted
    _looked_up: dict[Callable[[Model, RecommenderConfig], Any], Any] = field(
        default_factory=dict, init=False, repr=False
    )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over what users' adapters depend on."""
        return self.model.fingerprint()

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """Puts new texts beside the items'; loaded once, at the first of them."""
        return TextEncoder(self.config.text, self.model.text_adapter, self.model.backbone, self.model.prompt)

    def once(self, make: Callable[[Model, RecommenderConfig], T]) -> T:
        """What `make` makes of the model, made at the first call; as long as the model is the same, so is that."""
        if make not in self._looked_up:
            self._looked_up[make] = make(self.model, self.config)
        made: T = self._looked_up[make]
        return made

    def with_items(self, items: Catalog) -> tuple["Fitted", tuple[str, ...]]:
        """The same with new items, known by their texts, and what is to be said of them; known ids stay as they are."""
        model = self.model
        grown = model.catalog.extend(items)
        notes = tuple(f"add_items: {note}" for note in grown.report.notes)
        if len(grown) == len(model.catalog):
            return self, notes
        fresh = describe_items(grown, self.text_encoder.prompt)[len(model.catalog) :]
        larger = model_grown(model, grown, self.text_encoder.encode(fresh))
        changed = replace(self, model=larger, counted=self.counted.extended(len(grown)))
        return self.keeping(changed, "text_encoder"), notes

    def updated(
        self, events: Interactions, *, drifts: bool = False, weights: bool = True
    ) -> tuple["Fitted", tuple[str, ...]]:
        """The same with these events remembered and counted, and what is to be said of those about unknown items.

        Args:
            events: New ones.
            drifts: Whether the shop's adapter learns from what was served before these events, too.
            weights: Whether weights between items follow where enough is new; else see `recllm.model.weights`.
        """
        known, notes = events.known_items(self.model.catalog), []
        if lost := len(events) - len(known):
            reason = known.report.notes[-1]
            notes.append(f"{lost:,} of {len(events):,} events were left out: {reason}; add the items first.")
        known = self._dated(known)
        trained = self.keeping(replace(self, trained=self.trained.and_of(known)), "fingerprint", "text_encoder")
        memory, before, after = self.memory, Histories.empty(known.user_ids), self._read(known)
        if self.config.keep_histories:
            memory = self.memory.extend(known)
            before, after = (self._read(one.of_users(known.user_ids)) for one in (self.memory, memory))
        moved = trained._moved(memory, before, after, weights)
        if drifts:
            # From what was served, before anything of it was learned.
            moved = moved.with_drift(self._drifted(before, after))
        return moved, tuple(notes)

    def remembering(self) -> "Fitted":
        """The same with a model that reads a history once."""
        return self.keeping(replace(self, model=self.model.remembering()), "fingerprint", "text_encoder")

    @property
    def drift(self) -> Drift:
        """The shop's adapter."""
        return self.model.drift or Drift.none(self.model.head.channels)

    def with_drift(self, drift: Drift) -> "Fitted":
        """The same with another state of the shop's adapter."""
        return self.keeping(replace(self, model=self.model.with_drift(drift)), "fingerprint", "text_encoder")

    def _drifted(self, before: Histories, after: Histories) -> Drift:
        moments = Moments.of(before, after, seed=self.seed)
        if not len(moments):
            return self.drift
        with self.model.threads_for(len(moments)):
            tasks = tasks_of(self.model, moments, seed=self.seed)
        return self.drift.step(self.model.scores_as_fitted, tasks, float(moments.asked_at.max()))

    def _dated(self, events: Interactions) -> Interactions:
        """Events without times happen now, where the log has times: after all that was before."""
        log = self.memory.settled
        if events.timed or not log.timed:
            return events
        theirs = self.memory.of_users(events.user_ids).frame["timestamp"].to_numpy()
        now = max(self.model.channels.trend.end, float(theirs.max(initial=0))) + 1
        frame = events.frame.with_columns(pl.col("timestamp") + now)
        return Interactions(frame, events.report, events.user_ids, timed=True)

    def without(self, user_ids: Sequence[str], *, weights: bool = True) -> "Fitted":
        """The same with nothing remembered or counted of these users, all of whom are remembered.

        Args:
            user_ids: The users.
            weights: Whether weights between items follow, at the next question; else see `recllm.model.weights`.
        """
        gone = self._read(self.memory.of_users(user_ids))
        return self._moved(self.memory.without_users(user_ids), gone, Histories.empty(gone.user_ids), weights)

    def without_events(self, events: Interactions) -> "Fitted":
        """The same with these events, the whole history of each of their users, counted no more."""
        gone = self._read(events)
        return self._moved(self.memory, gone, Histories.empty(gone.user_ids))

    def _read(self, events: Interactions) -> Histories:
        return make_histories(events, self.model.catalog, self.model.feedback, seed=self.seed)

    def _moved(self, memory: Memory, before: Histories, after: Histories, weights: bool = True) -> "Fitted":
        if self.config.privacy is not None:
            counted = self.counted.remembering(before, after)
            return self.keeping(replace(self, memory=memory, counted=counted), "fingerprint", "text_encoder")
        recount = partial(counted_pairs, memory, self.model, self.seed)
        counted, model = self.counted.moved(before, after, self.model, recount, weights=weights)
        moved = replace(self, memory=memory, counted=counted, model=model)
        if self._never_fitted and not counted.since_weights:
            return self.keeping(replace(moved, model=moved._by_prior()), "text_encoder")
        return self.keeping(moved, "fingerprint", "text_encoder")

    @property
    def _never_fitted(self) -> bool:
        """Whether the ranking is the prior's for a catalog that had no events; it then follows the shop as it grows."""
        return self.model.own is not None and "users" not in self.report.counts

    def _by_prior(self) -> Model:
        """The model with the prior's head for the shop as it is remembered."""
        assert self.config.prior is not None, "a step is from a prior"
        model, prior = copy(self.model), open_prior(self.config.prior)
        histories, names = self._read(self.memory.log), model.channels.names
        head = prior.untaught_head(histories, len(model.catalog), names, self.config.ranking)
        model.take(OwnStep.none(head.channels), head)
        return model

    def keeping(self, changed: "Fitted", *names: str) -> "Fitted":
        """Another one with what was looked up here under these names, which is the same there."""
        vars(changed).update({name: value for name, value in vars(self).items() if name in names})
        return changed

    def freshness(self, now: float | None) -> Freshness:
        """What is counted, what the weights have seen, and whether to fit again."""
        log, clock = self.memory.log, self.counted.counts.items.clock
        newest = None
        if log.timed and len(log):
            newest = float(log.frame["timestamp"].to_numpy().max())
        elif log.timed and len(clock.moments):  # no histories are kept: as far as moments tell
            newest = float(clock.moments[-1] * clock.resolution)
        return Freshness.of(
            events=self.counted.counts.events,
            events_since_fit=self.counted.since_fit,
            newest_event=newest,
            weights_from=self.counted.weights_from,
            half_life_weeks=half_life(self.report.ageing),
            now=now,
        )

    # -- whom a call is about -----------------------------------------------------------------------------------------

    def events_of(self, users: Any, kept: Kept | None = None, *, ordered: bool = False, level: int = 4) -> Interactions:
        """The events of users in any form; of those who came with adapters, as the adapters know them."""
        asked = read_users(users, ordered=ordered)
        if isinstance(asked, Interactions):
            return self.model.on_scale(asked)
        self._warn_of_items(asked, kept, level)
        if kept is None:
            return self.memory.of_users(asked)
        theirs = kept.memory.of_users([user for user in asked if user in kept])
        others = self.memory.of_users([user for user in asked if user not in kept])
        return others.join(theirs).of_users(asked)

    def _warn_of_items(self, asked: Sequence[str], kept: Kept | None, level: int) -> None:
        if any(user in self.memory or (kept is not None and user in kept) for user in asked) or not asked:
            return
        if (self.model.catalog.rows(asked) >= 0).all():
            warnings.warn(
                f"users: {_some(asked)} are ids of items, and no user of that name is remembered, so this is answered "
                "for somebody without events; for a visitor who has these items write {'visitor': [...]}.",
                stacklevel=level,
            )

    def histories(self, events: Interactions) -> tuple[Histories, tuple[str, ...]]:
        """What the model can read of users' events, and what is to be said of the rest."""
        histories = make_histories(events, self.model.catalog, self.model.feedback, seed=self.seed)
        lost = np.flatnonzero((histories.lengths == 0) & (np.bincount(events.user_rows, minlength=len(histories)) > 0))
        if not len(lost):
            return histories, ()
        theirs = events.of_users([histories.user_ids[lost[0]]]).frame["item_id"].to_list()
        names = _some([histories.user_ids[row] for row in lost])
        note = (
            f"the history of {names} is of unknown items only ({_some(theirs)}), so this is answered as for somebody "
            "without events; the catalog has ids such as " + _some(self.model.catalog.item_ids) + "."
        )
        return histories, (note,)

    # -- answers ------------------------------------------------------------------------------------------------------

    def adapt(self, events: Interactions, steps: int | None) -> dict[str, Tensor]:
        """Users' adapters: matrices with a user axis."""
        histories, notes = self.histories(events)
        tell(notes, stacklevel=4)
        with self.model.threads_for(len(histories)):
            parts = [
                self.model.adapt(histories.of(batch), steps) for batch in histories.batches(self.model.batch_users)
            ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}

    def scores(self, histories: Histories, adapt: bool, kept: Kept | None) -> Iterator[np.ndarray]:
        """float32 [items], user by user."""
        for batch in histories.batches(self.model.batch_users):
            part = histories.of(batch)
            with self.model.threads_for(len(part)):
                scores = self.model.scores(part, self.adapted(part, adapt, kept)).numpy()
            yield from scores

    def rows_of(self, items: Items, user_ids: Sequence[str]) -> list[np.ndarray]:
        """Catalog rows of the items asked for, user by user.

        Raises:
            DataError: An item that the catalog does not have.
        """
        catalog = self.model.catalog
        asked = items_of(items, user_ids, "item_ids")
        rows = [catalog.rows(ids) for ids in asked]
        for ids, found in zip(asked, rows, strict=True):
            if (found < 0).any():
                raise DataError(f"item {ids[int(np.argmin(found))]!r} is not in the catalog; explain known items only.")
        return rows

    def adapted(self, histories: Histories, adapt: bool, kept: Kept | None) -> dict[str, Tensor] | None:
        """What scores are read through: kept adapters, or some made for this call; None: the meta-learned start."""
        learner = self.model.learner
        if not adapt or learner is None:
            return None
        if kept is None:
            return self.model.adapt(histories)
        with torch.no_grad():
            return kept.stack(histories.user_ids, learner.start())

    def scores_of(
        self, histories: Histories, adapt: bool, kept: Kept | None, rows: Sequence[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """float32, user by user: the scores of each one's catalog rows, and of these alone."""
        width = max(1, *map(len, rows)) if len(rows) else 1
        for batch in histories.batches(min(self.model.users_of(width), self.model.listed_users)):
            part, own = histories.of(batch), [rows[user] for user in batch]
            theirs = torch.from_numpy(np.stack([np.pad(some, (0, width - len(some))) for some in own]))
            with self.model.threads_for(len(part)):
                scores = self.model.scores_of(part, self.adapted(part, adapt, kept), theirs).numpy()
            yield from (line[: len(some)] for line, some in zip(scores, own, strict=True))


def tell(notes: Iterable[str], stacklevel: int = 3) -> None:
    """Warn of what an answer leaves out, where the caller called."""
    for note in notes:
        warnings.warn(note, stacklevel=stacklevel)


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(repr(one) for one in ids[:3])
    return f"{shown} and {len(ids) - 3:,} more" if len(ids) > 3 else shown
