"""Reasons that can be checked: evidence first, words second."""

from recllm.explain.evidence import Cause, Contributions, Evidence, ScoreFunction, contributions, gather_evidence
from recllm.explain.wording import reason_domains, verb_for, word

__all__ = [
    "Cause",
    "Contributions",
    "Evidence",
    "ScoreFunction",
    "contributions",
    "gather_evidence",
    "reason_domains",
    "verb_for",
    "word",
]
