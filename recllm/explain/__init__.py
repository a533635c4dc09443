"""Reasons that can be checked: evidence first, words second.

Any ranker can be explained, not only recllm's: a function from histories to scores is enough. ::

    def rank(histories):  # copies of one user's history, each without something
        return Ranking.of_scores(my_scores(histories), listed=~seen)  # [histories, items], bool [items]

    histories = make_histories(events, catalog, Feedback.infer(events.frame))
    evidence = gather_evidence(rank, histories, 0, [item_row], Background(catalog, popularity))
    print(Explainer(domain="ecommerce", detail="full").explain(evidence)[0].text)
"""

from recllm.explain.contributions import Contributions, contributions
from recllm.explain.evidence import Cause, Counterfactual, Evidence, SharedAttribute, Span
from recllm.explain.explainer import Explainer
from recllm.explain.gathering import Background, gather_evidence
from recllm.explain.ranker import RankFunction, Ranking
from recllm.explain.verify.complaints import complaints
from recllm.explain.wording import verb_for, word
from recllm.model.config import ExplanationConfig

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
    "verb_for",
    "word",
]
