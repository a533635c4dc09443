"""What was saved of channels: settings that are checked, and the names of earlier versions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from recllm.counts.trend import MOST_EVENTS
from recllm.errors import ArtifactError
from recllm.retrieval.channels import CHANNELS
from recllm.retrieval.newcomers import LIKED, OF_LATE, TAKEN

FORMER_NAMES = {
    "following.": "next_liked.",
    "company.sources": "text_cooccurrence.sources",
    "company.of_text": "text_cooccurrence.text_to_sources",
    "ridge": "text.ridge",
}
"""Of arrays in models saved by version 0.1.0, which has no list of channels either."""

HALF_LIFE, LIKED_EVENTS, NEWCOMERS = "half-life", "liked events", "newcomers"
"""Names of settings: the share of the log in which what is popular now halves, of how many liked events, and the order
for users of whom nothing is known."""


def checked_settings(settings: Any) -> dict[str, Any]:
    """Settings as they were saved.

    Raises:
        ArtifactError: One is out of range.
    """
    if not isinstance(settings, dict):
        raise ArtifactError("the settings of the channels are none")
    for name, value in settings.items():
        if name == NEWCOMERS:
            fine = value in (LIKED, TAKEN) or value in OF_LATE
        else:
            fine = type(value) in (int, float) and 0 < value <= MOST_EVENTS
        if not fine:
            raise ArtifactError(f"the channels have the setting {name}={value!r}, which is out of range")
    return settings


def of_today(saved: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], list[str]]:
    """What version 0.1.0 has saved, under the names of today, and the channels that it had."""
    found = {}
    for name, array in saved.items():
        former = next((one for one in FORMER_NAMES if name.startswith(one)), "")
        found[FORMER_NAMES.get(former, "") + name.removeprefix(former)] = array
    had = {name.partition(".")[0] for name in found} | {"history", "text", "popularity", "trend", "recent"}
    return found, [name for name in CHANNELS if name in had]
