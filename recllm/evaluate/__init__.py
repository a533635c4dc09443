"""Evaluation that survives scrutiny. `recllm.evaluate(...)` is `recllm.evaluate.run.evaluate`."""

import inspect
import sys
from types import ModuleType

from recllm.evaluate.arms import Arm, Ranked
from recllm.evaluate.protocol import SHOTS, make_splits
from recllm.evaluate.report import Report
from recllm.evaluate.run import evaluate
from recllm.evaluate.scorers import Lister, Scorer
from recllm.evaluate.split import Split

__all__ = ["SHOTS", "Arm", "Lister", "Ranked", "Report", "Scorer", "Split", "evaluate", "make_splits"]


class _Callable(ModuleType):
    """The package and the function share a name: importing the one must not hide the other."""

    __call__ = staticmethod(evaluate)


# Who asks the package what it is, is told of the function.
__signature__ = inspect.signature(evaluate)
_first, _, _rest = inspect.cleandoc(evaluate.__doc__ or "").partition("\n")
__doc__ = f"{_first}\n\nrecllm.evaluate{__signature__}\n{_rest}"
sys.modules[__name__].__class__ = _Callable
