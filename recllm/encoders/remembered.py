"""Users' vectors between questions: reading a history is most of the work of a list, and histories change rarely."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from recllm.data.histories import Histories
from recllm.encoders.lora import UserLora

_READ = ("item_rows", "timestamps", "tokens")
"""What the encoder reads of an event."""


@final
class Remembered:
    """Vectors by what they follow from: the newest events, and the user's own adapter. May be used by several threads.

    Args:
        max_events: How many events the encoder reads.
        most: How many vectors are held; those that were asked for longest ago go first.
    """

    def __init__(self, max_events: int, most: int = 20_000) -> None:
        self._max_events, self._most = max_events, most
        self._held: OrderedDict[bytes, Tensor] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._held)

    def read(
        self,
        histories: Histories,
        lora: UserLora | None,
        encode: Callable[..., Float[Tensor, "users width"]],
    ) -> Float[Tensor, "users width"]:
        """Users' vectors; `encode` reads the histories of which none is held.

        Args:
            histories: What is known of the users.
            lora: Each user's own matrices, if any.
            encode: From histories, and their matrices as `lora`, to vectors.
        """
        keys = [self._key(histories, row, lora) for row in range(len(histories))]
        with self._lock:
            found = [self._held.get(key) for key in keys]
            for key, vector in zip(keys, found, strict=True):
                if vector is not None:
                    self._held.move_to_end(key)
        missing = [row for row, vector in enumerate(found) if vector is None]
        if missing:
            rows = torch.tensor(missing)
            own = None if lora is None else {name: part[rows] for name, part in lora.items()}
            for row, vector in zip(missing, encode(histories.of(missing), lora=own), strict=True):
                found[row] = vector.clone()  # alone: a view would keep the whole batch
            self._hold({keys[row]: found[row] for row in missing})
        return torch.stack([vector for vector in found if vector is not None])

    def _hold(self, fresh: "dict[bytes, Tensor | None]") -> None:
        with self._lock:
            self._held.update((key, vector) for key, vector in fresh.items() if vector is not None)
            while len(self._held) > self._most:
                self._held.popitem(last=False)

    def _key(self, histories: Histories, row: int, lora: UserLora | None) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        end = int(histories.offsets[row + 1])
        begin = max(int(histories.offsets[row]), end - self._max_events)
        for name in _READ:
            digest.update(getattr(histories, name)[begin:end].tobytes())
        for name in sorted(lora or {}):
            digest.update(lora[name][row].numpy().tobytes())  # type: ignore[index]
        return digest.digest()
