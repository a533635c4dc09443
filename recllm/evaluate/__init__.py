"""Evaluation that survives scrutiny. `recllm.evaluate(...)` is `recllm.evaluate.run.evaluate`."""

import sys
from types import ModuleType
from typing import Any

from recllm.evaluate.arms import Arm, Ranked
from recllm.evaluate.protocol import SHOTS, make_splits
from recllm.evaluate.report import Report
from recllm.evaluate.run import evaluate
from recllm.evaluate.scorers import Lister, Scorer
from recllm.evaluate.split import Split

__all__ = ["SHOTS", "Arm", "Lister", "Ranked", "Report", "Scorer", "Split", "evaluate", "make_splits"]


class _Callable(ModuleType):
    """The package and the function share a name: importing the one must not hide the other."""

    def __call__(self, *args: Any, **kwargs: Any) -> Report:
        return evaluate(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
