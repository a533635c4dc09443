"""The shop's adapter as its owner meets it: which version is served, going back, and its files."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from recllm.adaptation.drift import Drift, DriftConfig
from recllm.adaptation.evidence import FEWEST_USERS, SURE, Evidence
from recllm.adaptation.own import OwnStep
from recllm.adaptation.peft_folder import lora_names, read_folder, write_folder
from recllm.data.doors import read_path
from recllm.errors import ArtifactError, ConfigError, DataError

MODULE = "weights"
"""The layer of the ranking head that moves."""

LAST_DAY = datetime.max.replace(tzinfo=UTC).timestamp() - 86_400
"""Later moments have no date."""

RANK = 2
"""As many as the layer has inputs: nothing is lost."""


@final
class ShopAdapters:
    """The versions of one shop's adapter.

    Args:
        drift: What is served.
        base: Fingerprint of the model it belongs to, as it was fitted.
        change: Puts what a function makes of the served adapter in its place, and returns that.
        own: The shop's own step from its prior; None where the head was fitted without one.
    """

    def __init__(
        self,
        drift: Drift,
        base: str,
        change: Callable[[Callable[[Drift], Drift]], Drift],
        own: OwnStep | None = None,
    ) -> None:
        self._drift, self.base, self._change, self.own = drift, base, change, own

    def __repr__(self) -> str:
        drift = self._drift
        if not drift.version:
            return "ShopAdapters(version 0: the ranking head as it was fitted)"
        state = "in use" if drift.in_use else "not in use, for it has shown no gain yet"
        learned = f"learned from {drift.events:,} liked events{_until(drift.newest)}"
        return f"ShopAdapters(version {drift.version}, {state}; {learned})"

    @property
    def drift(self) -> Drift:
        """The adapter itself."""
        return self._drift

    @property
    def version(self) -> int:
        """Batches that what is served has learned; 0: the head as it was fitted."""
        return self._drift.version

    @property
    def versions(self) -> tuple[int, ...]:
        """What is kept, oldest first; the last one is served."""
        return (*(one.version for one in self._drift.earlier), self._drift.version)

    def rollback(self) -> "ShopAdapters":
        """Go back to the version before; what was learned since is gone.

        Raises:
            DataError: There is none, or it is too old to be kept.
        """
        self._drift = self._change(Drift.rolled_back)
        return self

    def export(self, folder: str | Path, since: Literal["fit", "prior"] = "fit") -> None:
        """Write the adapter as PEFT's two files and a card.

        Args:
            folder: Where to.
            since: `fit`: what was learned since the fit; `peft.PeftModel.from_pretrained(rec.model.head, folder)` loads
                it. `prior`: the shop's own step from its prior, as the fit has made it; for `rec.model.prior_head`.

        Raises:
            ArtifactError: The disk refuses.
            ConfigError: `since` is something else.
            DataError: There is no prior.
        """
        place = read_path(folder, "the folder to write to")
        if since not in ("fit", "prior"):
            raise ConfigError(f"an adapter is exported since the fit or since the prior, got since={since!r}.")
        if since == "fit":
            write_drift(place, self._drift, self.base)
        elif self.own is None:
            raise DataError("the ranking head was fitted without a shop prior; there is no step from it to export.")
        else:
            card = f"# A shop's own step\n\nThe ranking of the recllm model `{self.base}` is {self.own}.\n"
            write_step(place, self.own.added, f"recllm shop prior of {self.base[:12]}", card)


def write_drift(folder: Path, drift: Drift, base: str) -> None:
    """Write PEFT's two files and a card for the head of the model with this fingerprint.

    Raises:
        ArtifactError: The disk refuses.
    """
    served = np.column_stack([drift.weight, drift.bias])
    write_step(folder, served, f"recllm ranking head {base[:12]}", _card(drift, base))


def write_step(folder: Path, added: np.ndarray, base: str, card: str) -> None:
    """Write what is added to a head's linear weights and biases, [channels, 3], as a LoRA of full rank.

    Raises:
        ArtifactError: The disk refuses.
    """
    down, up, bias = lora_names(MODULE)
    weights = {
        down: np.eye(RANK, dtype=np.float32),
        up: np.ascontiguousarray(added[:, :-1], dtype=np.float32),
        bias: np.ascontiguousarray(added[:, -1], dtype=np.float32),
    }
    write_folder(folder, weights, [MODULE], base, card, rank=RANK, moves_bias=True)


def read_drift(folder: str | Path, channels: int) -> Drift:
    """What `write_drift` wrote, in use, with nothing that could be gone back to.

    Raises:
        ArtifactError: It is damaged, or no shop's adapter for a head of so many channels.
    """
    config, saved = read_folder(place := read_path(folder, "the folder of an exported adapter"))
    down, up, bias = lora_names(MODULE)
    try:
        inward, outward = saved.floats(down, RANK, RANK), saved.floats(up, channels, RANK)
        added = np.column_stack([outward @ inward, saved.floats(bias, channels)]).astype(np.float64)
        saved.all_taken()
    except ArtifactError as error:
        raise ArtifactError(f"{place} holds no shop's adapter for {channels} channels: {error}.") from error
    if not (_is(config, r=RANK, lora_alpha=RANK, lora_bias=True, bias="none", target_modules=[MODULE])):
        raise ArtifactError(f"{place} holds an adapter with settings that are not a shop's; export it again.")
    certain = Evidence(FEWEST_USERS, FEWEST_USERS, FEWEST_USERS)
    return Drift(added, np.zeros((added.size, added.size)), DriftConfig(), certain, version=1)


def _is(config: dict[str, Any], **wanted: Any) -> bool:
    return all(config.get(name) == value and type(config.get(name)) is type(value) for name, value in wanted.items())


def _until(newest: float) -> str:
    """The day of the newest event; nothing where there is none, or no calendar has it."""
    if not 0 < newest <= LAST_DAY:
        return ""
    return f" up to {datetime.fromtimestamp(newest, UTC).date().isoformat()}"


def _card(drift: Drift, base: str) -> str:
    state = (
        f"In use: it has gained on what it had not learned yet, beyond {SURE} standard errors."
        if drift.in_use
        else "Not in use: it has not been shown to gain on what it had not learned yet, so these are zeros."
    )
    return (
        f"# A shop's adapter, version {drift.version}\n\n"
        f"LoRA of full rank, and biases, on the linear weights of the ranking head of the recllm model `{base}`.\n"
        f"Learned from {drift.events:,} liked events{_until(drift.newest)}: {drift.tasks:,} tasks in {drift.version} "
        "batches.\n"
        f"{state}\n\n"
        f"Settings: pull {drift.config.pull:g}, reach {drift.config.reach:g}, memory {drift.config.memory:g}.\n"
        "It holds sums over all users of these batches, and nobody's events.\n"
    )
