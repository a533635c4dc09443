"""Users' own adapters between questions: made when a history is new, kept in memory and in the store."""

import hashlib
import logging
from collections import OrderedDict
from threading import Lock
from typing import final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from recllm.adaptation.adapters import Kept
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions
from recllm.data.memory import Memory
from recllm.errors import ServeError
from recllm.serve.live.now import Now
from recllm.serve.state.records import AdapterRecord
from recllm.serve.state.store import Store
from recllm.serve.state.writing import Transaction

log = logging.getLogger("recllm.serve")

_HISTORY = "history"
"""The tensor in a saved adapter that says from which history it was made."""


@final
class OwnAdapters:
    """Adapters by user, each of one model and one history.

    Args:
        store: Where they outlive the process.
        most: How many are held in memory.
    """

    def __init__(self, store: Store, most: int = 10_000) -> None:
        self._store, self._most = store, most
        self._held: OrderedDict[str, tuple[str, bytes, dict[str, Tensor]]] = OrderedDict()
        self._erased: dict[str, int] = {}
        self._lock = Lock()

    def of(self, now: Now, seen: Histories, *, named: bool = True) -> Kept | None:
        """Adapters of users as they are now; None where the model has none or does not use them, or nothing is kept.

        Args:
            now: What answers.
            seen: The users' histories.
            named: Whether these are users, and not sessions, of which nothing is kept.
        """
        learner, base = now.state.model.learner, now.state.fingerprint
        if learner is None or not bool(learner.open) or not named or not len(seen):
            return None
        keys = [_key(seen, row) for row in range(len(seen))]
        found = [self._known(user, base, key) for user, key in zip(seen.user_ids, keys, strict=True)]
        missing = [row for row, one in enumerate(found) if one is None]
        if missing:
            fresh = now.state.model.adapt(seen.of(missing))
            for place, row in enumerate(missing):
                found[row] = own = {name: part[place].clone() for name, part in fresh.items()}
                self._keep(seen.user_ids[row], base, keys[row], own, now.as_of_event)
        stacked = {name: torch.stack([own[name] for own in found if own is not None]) for name in learner.start()}
        rows = {user: row for row, user in enumerate(seen.user_ids)}
        return Kept(Memory.of(Interactions.from_mapping({})), rows, stacked, base, None)

    def forget(self, user_id: str) -> None:
        """Nothing of a user is held any more, nor written of what is being made."""
        with self._lock:
            self._erased[user_id] = self._erased.get(user_id, 0) + 1
            self._held.pop(user_id, None)

    def _known(self, user: str, base: str, key: bytes) -> dict[str, Tensor] | None:
        with self._lock:
            held = self._held.get(user)
            if held is not None:
                self._held.move_to_end(user)
        if held is not None:
            return held[2] if held[:2] == (base, key) else None
        try:
            record = self._store.adapter(user, base)
        except ServeError as error:  # it can be made again
            log.warning("an adapter was not read: %s", error)
            return None
        if record is None or hashlib.sha256(record.blob).hexdigest() != record.sha256:
            return None
        try:
            own = load(record.blob)
        except SafetensorError:
            return None
        if bytes(own.pop(_HISTORY, torch.zeros(0, dtype=torch.uint8)).tolist()) != key:
            return None
        self._hold(user, base, key, own)
        return own

    def _hold(self, user: str, base: str, key: bytes, own: dict[str, Tensor]) -> None:
        with self._lock:
            self._held[user] = (base, key, own)
            self._held.move_to_end(user)
            while len(self._held) > self._most:
                self._held.popitem(last=False)

    def _keep(self, user: str, base: str, key: bytes, own: dict[str, Tensor], as_of_event: int) -> None:
        self._hold(user, base, key, own)
        erased = self._erased.get(user)
        blob = save({**own, _HISTORY: torch.tensor(list(key), dtype=torch.uint8)})
        record = AdapterRecord(user, base, as_of_event, blob, hashlib.sha256(blob).hexdigest())

        def write(change: Transaction) -> None:
            if self._erased.get(user) == erased:
                change.put_adapter(record)

        try:
            self._store.write(write)
        except ServeError as error:  # it can be made again
            log.warning("an adapter was not kept: %s", error)


def _key(seen: Histories, row: int) -> bytes:
    """Of what a user's adapter is made from."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (seen.item_rows, seen.timestamps, seen.signals, seen.tokens):
        digest.update(part[seen.offsets[row] : seen.offsets[row + 1]].tobytes())
    return digest.digest()
