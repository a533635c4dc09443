"""Logs that do not fit into memory: read in pieces, cleaned, and kept as parquet, divided by a hash of the user."""

from recllm.scale.events.dividing import write_partitioned
from recllm.scale.events.partitioned import PartitionedEvents

__all__ = ["PartitionedEvents", "write_partitioned"]
