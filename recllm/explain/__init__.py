"""Reasons that can be checked: evidence first, words second."""

from recllm.explain.contributions import Contributions, contributions
from recllm.explain.evidence import Cause, Counterfactual, Evidence, SharedAttribute, Span
from recllm.explain.explainer import Explainer
from recllm.explain.gathering import Background, gather_evidence
from recllm.explain.policy import ExplanationConfig
from recllm.explain.ranker import RankFunction, Ranking
from recllm.explain.verify import complaints
from recllm.explain.wording import reason_domains, verb_for, word

__all__ = [
    "Background",
    "Cause",
    "Contributions",
    "Counterfactual",
    "Evidence",
    "Explainer",
    "ExplanationConfig",
    "RankFunction",
    "Ranking",
    "SharedAttribute",
    "Span",
    "complaints",
    "contributions",
    "gather_evidence",
    "reason_domains",
    "verb_for",
    "word",
]
