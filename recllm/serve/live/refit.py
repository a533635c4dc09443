"""Fits a model anew, in a process of its own, from a snapshot of what answers.

python -m recllm.serve.live.refit SNAPSHOT TARGET [BUDGET]
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path

from recllm.errors import RecllmError, ServeError
from recllm.options import TrainOptions
from recllm.recommender import Recommender

NICENESS = 10
"""The fit gives way to who serves."""


def refitted(snapshot: Path, target: Path, budget: str | None = None) -> None:
    """Fit a saved recommender anew, to its catalog and all events that it remembers, and save the result.

    Args:
        snapshot: A saved recommender.
        target: Where to.
        budget: As for `TrainOptions`.

    Raises:
        DataError: It remembers no events.
    """
    former = Recommender.load(snapshot)
    options = TrainOptions(seed=former.fitted.seed, budget=budget)
    fresh = Recommender(former.config)
    fresh.fit(former.catalog, former.fitted.memory.log, options=options, prompts=former.prompts["item"])
    fresh.save(target)


def in_a_process(snapshot: Path, target: Path, budget: str | None = None) -> "subprocess.Popen[str]":
    """The same beside what goes on, on one thread and with a low priority."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", __name__, str(snapshot), str(target), *([budget] if budget else [])]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def finished(process: "subprocess.Popen[str]") -> None:
    """Wait for it.

    Raises:
        ServeError: It failed.
    """
    _, said = process.communicate()
    if process.returncode:
        lines = [line for line in (said or "").strip().splitlines() if line.strip()]
        raise ServeError(f"the fit stopped with code {process.returncode}: {lines[-1] if lines else 'it said nothing'}")


def main(arguments: list[str]) -> int:
    """Run as a module; what is wrong is one line on the standard error."""
    warnings.simplefilter("ignore")
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    try:
        refitted(Path(arguments[0]), Path(arguments[1]), arguments[2] if len(arguments) > 2 else None)
    except RecllmError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
