"""One process for one recommender: what was begun before a fork cannot go on after it."""

import os

from recllm.errors import ForkError

_first: int | None = None


def stay_in_process() -> None:
    """Note the process that first reads data or asks a recommender, and refuse every other.

    polars and torch keep pools of threads. A fork copies their locks and not the threads, so a child that asks them
    again waits for ever. A process that was started afresh ("spawn") begins with neither.

    Raises:
        ForkError: This process is a fork of the one that began.
    """
    global _first
    here = os.getpid()
    if _first is None:
        _first = here
    elif _first != here:
        raise ForkError(
            f"recllm was used in process {_first}, and this one ({here}) is a fork of it, in which torch and polars "
            "would wait for ever; start workers with multiprocessing.get_context('spawn'), or load the recommender in "
            "each worker and nothing before (gunicorn: without --preload)."
        )
