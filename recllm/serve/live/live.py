"""The engine of a server: everything that routes, page and tools ask for."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, final

from recllm.errors import UnknownError
from recllm.model.card import card as model_card
from recllm.model.weights import without_pairs
from recllm.recommender import Recommender
from recllm.serve.answers import Ask, Taken
from recllm.serve.live.answering import Answering, no_item, shortened
from recllm.serve.live.figures import Figures, figures
from recllm.serve.live.items import record_of, with_items
from recllm.serve.live.lists import Question, made
from recllm.serve.live.models import Models
from recllm.serve.live.now import Now
from recllm.serve.live.refitting import LastRefit, Refitting, caught_up, without_erased
from recllm.serve.live.snapshots import Snapshots
from recllm.serve.live.taking import taken_in
from recllm.serve.live.vectors import KeptVectors
from recllm.serve.live.waiting import durable
from recllm.serve.settings import Settings
from recllm.serve.state.opening import open_store
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.records import Event, ItemRecord, Stored, UserRecord, fields_of
from recllm.serve.state.store import Store
from recllm.serve.stream.address import StreamAddress
from recllm.serve.stream.streaming import Streaming


@final
class Live(Answering):
    """Answers from a model that takes in every acknowledged event; use `open`.

    Methods that wait are coroutines; what computes runs in threads of its own.
    """

    def __init__(self, store: Store, models: Models, now: Now, settings: Settings) -> None:
        super().__init__(store, now, settings)
        self._models = models
        self._refitting = Refitting(self._taking, models, store)
        self._snapshots = Snapshots(lambda: self.now, self.keep_model)
        self.stream: Streaming | None = None
        self._vectors: KeptVectors | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        model: "Path | Recommender | None",
        settings: Settings,
        address: str | None = None,
        stream: str | None = None,
    ) -> "Live":
        """Open a server's folder, and take in what its store has and the model has not.

        Args:
            folder: Of the server; made if missing.
            model: A model to take over; None: the one in the folder.
            settings: Limits.
            address: Where events, lists, users and keys are kept; see `open_store`.
            stream: Where events come from beside requests: `kafka://host:9092/topic`.

        Raises:
            ConfigError: An address is none.
            ServeError: The folder is served already, or there is no model.
            ArtifactError: The model is damaged.
        """
        source = None if stream is None else StreamAddress.of(stream)
        store = open_store(folder, address)
        try:
            models = Models(folder / "models", store)
            recommender, as_of_event = models.open(model)
            state = without_pairs(recommender.fitted.remembering())
            if as_of_event == 0 and store.fact("erased"):
                gone = [user for user in state.memory.user_ids if store.fact(_erased(user))]
                state = without_erased(state, gone, store)
            hidden = store.hidden()
            exclude = {user: tuple(items) for user, items in store.exclusions().items()}
            now = Now(caught_up(state, store, as_of_event), store.last_event, hidden, exclude)
            warm(now, settings)
            live = cls(store, models, now, settings)
        except BaseException:
            store.close()
            raise
        if source is not None:
            live._follow(source)
        if address is not None:
            live._vectors = KeptVectors(Address.of(address), lambda: live.now)
        return live

    def _follow(self, source: StreamAddress) -> None:
        try:
            self.stream = Streaming(source, self._taking, self.store)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Answer what waits, keep what was taken in, and stop."""
        for beside in (self.stream, self._vectors):
            if beside is not None:
                beside.close()
        self._refitting.close()
        for queue in (self._lists, self._slow):
            queue.close()
        self._taking.close()
        self._snapshots.close()
        self.store.close()

    # -- what is there ------------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        """Of the model."""
        return self.now.version

    @property
    def as_of_event(self) -> int:
        """Number of the newest event that answers know of."""
        return self.now.as_of_event

    def ready(self) -> tuple[bool, str]:
        """Whether lists are answered without delay, and why not."""
        if trouble := self.store.trouble:
            return False, trouble
        if self.waiting >= self.settings.waiting:
            return False, f"{self.waiting} requests are waiting to be answered"
        return True, "ready"

    def figures(self) -> Figures:
        """How it goes."""
        return figures(self.now, self.store, self.traffic, self.waiting, self._refitting.last)

    def card(self) -> str:
        """What the model says of itself, for people."""
        state = self.now.state
        return model_card(state.config, state.model, state.report, state.freshness(None))

    def titles(self, item_ids: Sequence[str]) -> dict[str, str]:
        """Titles of the items that there are."""
        catalog = self.now.state.model.catalog
        rows = catalog.rows(item_ids)
        return {item: catalog.titles[row] for item, row in zip(item_ids, rows, strict=True) if row >= 0}

    # -- writing ------------------------------------------------------------------------------------------------------

    async def feedback(self, events: Sequence[Event], *, replace: bool = False) -> Taken:
        """Take in events; when this returns, they are durable and in the next answer."""
        taken = await durable(self._taking.feedback(events, replace=replace))
        if taken.replaced:  # the saved model knows the former ones
            await asyncio.to_thread(self.keep_model)
        return taken

    async def put_items(self, items: Sequence[ItemRecord]) -> dict[str, int]:
        """Take in items; when this returns, they are durable and can be in the next answer."""
        now = self.now
        if items:
            # Read here, so that events need not wait for texts; what is read is kept.
            await self._in_slow(lambda: with_items(now, _new(now, items), self.store))
        await durable(self.store.write(lambda change: change.put_items(items)))
        return await asyncio.wrap_future(self._taking.change(lambda latest: with_items(latest, items, self.store)))

    def item(self, item_id: str) -> ItemRecord:
        """One item.

        Raises:
            UnknownError: There is none.
        """
        found = record_of(self.now, item_id, self.store)
        if found is None:
            raise no_item(item_id)
        return found

    def items(self, after: str | None, n: int) -> list[ItemRecord]:
        """Items of the catalog, a page of them, in its order."""
        now = self.now
        start = 0 if after is None else int(now.state.model.catalog.rows([after])[0]) + 1
        ids = now.state.model.catalog.item_ids[start : start + n] if start or after is None else ()
        return [record for item in ids if (record := record_of(now, item, self.store)) is not None]

    async def put_users(self, users: Sequence[UserRecord]) -> None:
        """Keep what is known of users beside events; what is excluded is out of the next answer."""
        await durable(self.store.write(lambda change: change.put_users(users)))
        own = {user.user_id: tuple(user.exclude) for user in users}

        def take(latest: Now) -> tuple[Now, None]:
            merged = {**latest.exclude, **own}
            return replace(latest, exclude={user: items for user, items in merged.items() if items}), None

        await asyncio.wrap_future(self._taking.change(take))

    def user(self, user_id: str) -> dict[str, Any]:
        """All that is kept of a user.

        Raises:
            UnknownError: Nothing is.
        """
        now, record = self.now, self.store.user(user_id)
        theirs = now.state.memory.of_users([user_id]).frame.drop("user_id").to_dicts()
        adapter = self.store.adapter(user_id, now.state.fingerprint)
        lists, sent = self.store.impressions_of(user_id), self.store.events_of(user_id)
        if record is None and not theirs and not sent and not lists and user_id not in now.state.memory:
            raise UnknownError(f"nothing is kept of a user {shortened(user_id)}.")
        return {
            "user_id": user_id,
            "fields": {} if record is None else dict(record.fields),
            "exclude": [] if record is None else list(record.exclude),
            "events": theirs,
            "sent": [{"number": one.number, **fields_of(one.event)} for one in sent],
            "lists": [asdict(one) for one in lists],
            "adapter": None
            if adapter is None
            else {"base": adapter.base, "bytes": len(adapter.blob), "sha256": adapter.sha256},
        }

    async def erase(self, user_id: str) -> dict[str, Any]:
        """Delete everything of a user: rows, memory, counts, and their events in the saved model."""
        self._refitting.forget(user_id)
        self._adapters.forget(user_id)
        self._kept.forget(user_id)

        def erase(change: Any) -> dict[str, int]:
            told: dict[str, int] = change.erase_user(user_id)
            change.put_fact(_erased(user_id), True)
            change.put_fact("erased", True)
            return told

        told = await durable(self.store.write(erase))

        def take(latest: Now) -> tuple[Now, bool]:
            exclude = {user: items for user, items in latest.exclude.items() if user != user_id}
            known = user_id in latest.state.memory
            state = latest.state.without([user_id], weights=False) if known else latest.state
            return replace(latest, state=state, exclude=exclude), known

        known = await asyncio.wrap_future(self._taking.change(take))
        self._refitting.begin_anew()
        if known:
            await asyncio.to_thread(self.keep_model)
        # What was being made when it was written.
        await durable(self.store.write(lambda change: change.erase_user(user_id)))
        return {**told, "remembered": known}

    def keep_model(self) -> None:
        """Save what answers in the place of the saved model."""
        now = self.now
        self._models.take(Recommender.of(now.state), now.as_of_event)

    async def refit(self, budget: str | None = None) -> dict[str, Any]:
        """Begin to fit a model anew; it answers as soon as it is there."""
        self._refitting.begin(budget)
        return asdict(self._refitting.last)

    def refit_now(self, budget: str | None = None) -> LastRefit:
        """Fit a model anew, and wait for it."""
        self._refitting.begin(budget)
        return self._refitting.wait()


def warm(now: Now, settings: Settings) -> None:
    """Look up what the first answers would have to; nothing of it is kept."""
    made(now, [Question("session", None, Ask(n=1))], settings, None)
    catalog = now.state.model.catalog
    if len(catalog):
        stranger = Event("", "stranger", catalog.item_ids[0], 0.0)
        taken_in(taken_in(now.state, [Stored(0, stranger)]), [Stored(0, replace(stranger, timestamp=1.0))])


def _new(now: Now, items: Sequence[ItemRecord]) -> list[ItemRecord]:
    rows = now.state.model.catalog.rows([record.item_id for record in items])
    return [record for record, row in zip(items, rows, strict=True) if row < 0]


def _erased(user_id: str) -> str:
    return "erased:" + hashlib.sha256(user_id.encode("utf-8", "surrogatepass")).hexdigest()
