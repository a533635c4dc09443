"""Evaluation that survives scrutiny; `recllm.evaluate(...)` is `recllm.evaluation.run.evaluate`."""

from recllm.evaluation.arms import Arm, Ranked
from recllm.evaluation.protocol import SHOTS, make_splits
from recllm.evaluation.report import Report
from recllm.evaluation.run import evaluate
from recllm.evaluation.scorers import Lister, Scorer
from recllm.evaluation.split import Split

__all__ = ["SHOTS", "Arm", "Lister", "Ranked", "Report", "Scorer", "Split", "evaluate", "make_splits"]
