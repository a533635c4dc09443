"""The users' state: what each user's own adapter is, and the events it was made from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, final

import torch
from torch import Tensor

from recllm.adaptation.peft_folder import write_peft
from recllm.adaptation.saved import read_adapters, write_adapters
from recllm.data.cleaning import as_id
from recllm.data.doors import known_among, read_events, read_path, read_user_ids
from recllm.data.ids import read_ids
from recllm.data.interactions import Interactions
from recllm.data.memory import Memory
from recllm.errors import AdapterMismatch, ArtifactError, ConfigError, DataError

AdaptFunction = Callable[[Interactions], dict[str, Tensor]]


@final
@dataclass(frozen=True, eq=False)
class Kept:
    """Users' adapters as they are at one moment. Immutable: what changes them makes the next one.

    Attributes:
        memory: The users' events.
        row_of: Each user's place in the matrices.
        lora: Matrices with a leading user axis.
        base: Fingerprint of the model they belong to.
        steps: The gradient steps they were made with; None: as many as the model is configured for.
    """

    memory: Memory
    row_of: Mapping[str, int]
    lora: Mapping[str, Tensor]
    base: str
    steps: int | None

    def __contains__(self, user_id: object) -> bool:
        return user_id in self.row_of

    def stack(self, user_ids: Sequence[str], start: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Matrices of these users in this order; a user without an adapter gets the start."""
        rows = torch.tensor([self.row_of.get(user, -1) for user in user_ids], dtype=torch.long)
        known = rows >= 0
        stacked = {}
        for name, first in start.items():
            stacked[name] = first.expand(len(rows), *first.shape).clone()
            if known.any():
                stacked[name][known] = self.lora[name][rows[known]]
        return stacked

    def steps_of(self, user_ids: Sequence[str]) -> list[int | None]:
        """Steps that each user was adapted with; whom the adapters do not know is served the start."""
        return [self.steps if user in self else 0 for user in user_ids]

    def replaced(self, memory: Memory, user_ids: Sequence[str], lora: Mapping[str, Tensor]) -> "Kept":
        """With these users' matrices in place of those they had."""
        fresh = [user for user in user_ids if user not in self]
        row_of = self.row_of if not fresh else {**self.row_of, **dict(zip(fresh, count(len(self.row_of))))}
        rows = torch.tensor([row_of[user] for user in user_ids], dtype=torch.long)
        changed = {}
        for name, theirs in lora.items():
            ours = self.lora.get(name, theirs[:0])
            changed[name] = torch.cat([ours, ours.new_zeros(len(fresh), *ours.shape[1:])]).index_copy(0, rows, theirs)
        return replace(self, memory=memory, row_of=row_of, lora=changed)

    def without(self, user_ids: Iterable[str]) -> "Kept":
        """Without these users."""
        gone = set(user_ids)
        kept = [user for user in self.row_of if user not in gone]
        rows = torch.tensor([self.row_of[user] for user in kept], dtype=torch.long)
        lora = {name: tensor[rows] for name, tensor in self.lora.items()}
        return replace(self, memory=self.memory.without_users(gone), row_of=_places(kept), lora=lora)


def _places(user_ids: Iterable[str]) -> dict[str, int]:
    return {user: row for row, user in enumerate(user_ids)}


@final
class Adapters:
    """Adapters of users, one slice of a stack each.

    May be used by several threads: `update` and `forget` put another whole in the place of what was here.

    An adapter is a function of the shared start and the user's events alone: the order in which events arrive does not
    matter, their timestamps do, and no user's adapter holds anything of another user.

    Args:
        events: What the adapters were made from.
        lora: Matrices with a leading user axis, in the order of `events.user_ids`.
        base: Fingerprint of the model they belong to.
        adapt: Makes adapters from events.
        steps: The gradient steps they were made with; None: as many as the model is configured for.
    """

    def __init__(
        self,
        events: Interactions,
        lora: Mapping[str, Tensor],
        base: str,
        adapt: AdaptFunction,
        steps: int | None = None,
    ) -> None:
        self._kept = Kept(Memory.of(events), _places(events.user_ids), dict(lora), base, steps)
        self._adapt = adapt
        self._changing = Lock()

    @property
    def kept(self) -> Kept:
        """What is here at this moment; it stays as it is whatever `update` and `forget` do."""
        return self._kept

    @property
    def events(self) -> Interactions:
        """What the adapters were made from."""
        return self._kept.memory.log

    @property
    def user_ids(self) -> tuple[str, ...]:
        """Users with an adapter."""
        return tuple(self._kept.row_of)

    @property
    def base(self) -> str:
        """Fingerprint of the model they belong to."""
        return self._kept.base

    @property
    def steps(self) -> int | None:
        """The gradient steps they were made with; None: as many as the model is configured for."""
        return self._kept.steps

    def __len__(self) -> int:
        return len(self._kept.row_of)

    def __repr__(self) -> str:
        return f"Adapters({len(self)} users, {self.bytes_per_user} bytes each in half precision)"

    @property
    def bytes_per_user(self) -> int:
        """Size of one user's matrices as saved, in half precision."""
        kept = self._kept
        return sum(2 * tensor[0].numel() for tensor in kept.lora.values()) if kept.row_of else 0

    def stack(self, user_ids: Any, start: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Matrices of these users in this order; a user without an adapter gets the start."""
        return self._kept.stack(read_ids(user_ids, "user_ids", ordered=True), start)

    def update(self, new_events: Any) -> "Adapters":
        """Take in new events of these or further users and adapt them again; the others stay as they are.

        Args:
            new_events: `Interactions`, a table, or `{user: [item ids]}`. Nobody's events change nothing.
        """
        fresh = read_events(new_events)
        with self._changing:
            if fresh.user_ids:
                memory = self._kept.memory.extend(fresh)
                lora = self._adapt(memory.of_users(fresh.user_ids))
                self._kept = self._kept.replaced(memory, fresh.user_ids, lora)
        return self

    def forget(self, user_ids: Any) -> "Adapters":
        """Delete these users' events and adapters.

        Args:
            user_ids: One id or several.

        Raises:
            DataError: None of them is here, and nothing was deleted. If only some are not here, a warning says which.
        """
        ids = read_user_ids(user_ids)
        with self._changing:
            self._kept = self._kept.without(known_among(ids, self._kept, "has an adapter here"))
        return self

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: matrices in half precision, and the events they follow from.

        Raises:
            ArtifactError: The disk refuses.
        """
        kept = self._kept
        target = read_path(path, "the file to save to")
        write_adapters(target, kept.memory.log.of_users(kept.row_of), kept.lora, kept.base, kept.steps)

    @classmethod
    def load(cls, path: str | Path, recommender: Any, *, refresh: bool = False) -> "Adapters":
        """Read what `save` wrote, for the recommender that made it.

        Args:
            path: The file.
            recommender: Whose adapters they are.
            refresh: Whether adapters of another model are made anew from the events in the file, instead of refused.

        Raises:
            ArtifactError: The file is missing, damaged or something else.
            AdapterMismatch: It belongs to another model.
        """
        saved, base = read_adapters(read_path(path, "the file of saved adapters")), recommender.fingerprint
        if saved.base != base and not refresh:
            raise AdapterMismatch(
                f"adapters in {path} were made with model {saved.base[:12]}, this one is {base[:12]}; adapt the users "
                "again with this model, or load with refresh=True to have that done from the events in the file."
            )
        make = recommender.adapt_function(saved.steps)
        if saved.base != base:
            return cls(saved.events, make(saved.events), base, make, saved.steps)
        learner = recommender.model.learner
        try:
            lora = saved.lora({} if learner is None else learner.start())
        except ArtifactError as error:
            raise ArtifactError(f"{path} is damaged: {error}; save the adapters again.") from error
        return cls(saved.events, lora, base, make, saved.steps)

    def export(self, user_id: Any, folder: str | Path) -> None:
        """Write one user's adapter (start and own steps together) as PEFT's two files and a card.

        `peft.PeftModel.from_pretrained(recommender.model.head, folder)` loads what moves the ranking head. What moves
        the history encoder, where the model adapts it, is loaded the same way onto `recommender.model.encoder.blocks`;
        the head's is then in the folder's `head/`.

        Raises:
            DataError: The user has no adapter here.
        """
        user, kept, folder = as_id(user_id), self._kept, read_path(folder, "the folder to write to")
        if user not in kept:
            raise DataError(f"user {user!r} has no adapter here; adapt the user first.")
        own = {name: tensor[kept.row_of[user]] for name, tensor in kept.lora.items()}
        head = {name.removeprefix("head."): part for name, part in own.items() if name.startswith("head.")}
        history = {name: part for name, part in own.items() if not name.startswith("head.")}
        if history:
            _write_own(folder, history, kept.base, "history encoder")
        if head:
            _write_own(folder / "head" if history else folder, head, kept.base, "ranking head")


def _write_own(folder: Path, own: Mapping[str, Tensor], base: str, part: str) -> None:
    """A user's adapter of one part of the model."""
    card = (
        f"# A user's adapter\n\nLoRA on the {part} of the recllm model `{base}`.\n"
        "Made from this one user's events; it holds nothing of anybody else. The start that it was moved from is\n"
        "shared: the model's card says from how many users it was learned.\n"
    )
    write_peft(folder, own, f"recllm {part} {base[:12]}", card)


def kept_for(adapters: Any, fingerprint: str) -> Kept | None:
    """The adapters as they are now; None: there are none.

    Raises:
        ConfigError: They are no adapters.
        AdapterMismatch: They are another model's.
    """
    if adapters is None:
        return None
    if not isinstance(adapters, Adapters):
        raise ConfigError(f"adapters come from adapt(users) or Adapters.load; got a {type(adapters).__name__}.")
    kept = adapters.kept
    if kept.base != fingerprint:
        raise AdapterMismatch(
            f"these adapters were made with model {kept.base[:12]}, this one is {fingerprint[:12]}; adapt the users "
            "again with this model."
        )
    return kept
