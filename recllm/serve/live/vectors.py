"""Keeps the vectors of items in Postgres as they are in what answers."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import final

from recllm.errors import RecllmError
from recllm.serve.live.now import Now
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.vectors import ItemVector, ItemVectors

log = logging.getLogger("recllm.serve")

EVERY = 10.0
"""Seconds between two looks."""


@final
class KeptVectors:
    """A thread that writes vectors when there is another model, or an item is new.

    Args:
        address: Of the shop.
        now: What answers.
    """

    def __init__(self, address: Address, now: Callable[[], Now]) -> None:
        self._address, self._now = address, now
        self._done = threading.Event()
        self._written = ("", 0)
        self._said = ""
        self._thread = threading.Thread(target=self._run, name="recllm-vectors", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; the next server writes what is missing."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                self._look()
                self._said = ""
            except RecllmError as error:
                if str(error) != self._said:
                    log.warning("vectors of items are not kept in the database: %s", error)
                self._said = str(error)
            if self._done.wait(EVERY):
                return

    def _look(self) -> None:
        now = self._now()
        model, count = now.state.fingerprint, len(now.state.model.catalog)
        if (model, count) == self._written:
            return
        table = ItemVectors.open(self._address)
        try:
            kept, known = table.kept()
            item_ids = now.state.model.catalog.item_ids
            missing = [row for row, item_id in enumerate(item_ids) if item_id not in known]
            if kept != model or len(missing) + len(known) > count:
                table.replace(model, int(now.state.model.channels.text.shape[1]), self._items(now, range(count)))
            elif missing:
                table.add(model, self._items(now, missing))
        finally:
            table.close()
        self._written = (model, count)

    def _items(self, now: Now, rows: Sequence[int]) -> Iterator[ItemVector]:
        catalog, text = now.state.model.catalog, now.state.model.channels.text
        for row in rows:
            if self._done.is_set():
                raise RecllmError("the server is being stopped.")
            fields = json.loads(json.dumps(dict(catalog.item(row)), default=str))
            yield ItemVector(catalog.item_ids[row], fields, text[row].numpy())
