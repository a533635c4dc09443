"""The same work on many processes or machines: lists, reasons and adapters of all users, shard by shard.

    recllm.scale.recommend("model/", "lists/", executor="local:4")     # or "ray://head:6379"

Its names are imported on first use: a worker that only counts need not load what ranks.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recllm.scale.counting import count_events
    from recllm.scale.events import PartitionedEvents, write_partitioned
    from recllm.scale.executor import Executor, open_executor
    from recllm.scale.jobs import Finished, adapt, explain, recommend

__all__ = [
    "Executor",
    "Finished",
    "PartitionedEvents",
    "adapt",
    "count_events",
    "explain",
    "open_executor",
    "recommend",
    "write_partitioned",
]

_HOMES = {
    "Executor": "recllm.scale.executor",
    "Finished": "recllm.scale.jobs",
    "PartitionedEvents": "recllm.scale.events",
    "adapt": "recllm.scale.jobs",
    "count_events": "recllm.scale.counting",
    "explain": "recllm.scale.jobs",
    "open_executor": "recllm.scale.executor",
    "recommend": "recllm.scale.jobs",
    "write_partitioned": "recllm.scale.events",
}


def __getattr__(name: str) -> Any:
    """Import a public name where it lives, once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'recllm.scale' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, whether or not they have been imported yet."""
    return sorted(set(globals()) | set(__all__))
