"""What others liked soon after the same events: directed item-item weights, from the order of events."""

from dataclasses import dataclass
from functools import partial
from typing import Self, final

from scipy import sparse

from recllm.counts.counts import Counts
from recllm.counts.next_liked import next_liked
from recllm.encoders.validation import mean_ndcg
from recllm.retrieval.channel import Lesson
from recllm.retrieval.channels.cooccurrence import ItemWeights


@final
@dataclass(frozen=True)
class NextLiked(ItemWeights):
    """Sequential rules; a user's older events count less."""

    name = "next_liked"
    words = "what others liked soon after the same events"

    @classmethod
    def fit(cls, lesson: Lesson) -> Self | None:
        """None where no user has events at two moments, as in a log without times."""
        if not (lesson.renewing or lesson.base.blocks.any()):
            return None
        config = lesson.config
        lesson.progress("count what is liked next", 0, 1)
        model = next_liked(partial(_counted, lesson.counts), shrinkage=config.shrinkage, neighbours=config.neighbours)
        if len(lesson.validation.query):
            lesson.figures[cls.name] = mean_ndcg(cls.scorer(model), lesson.validation)
        return cls(model)


def _counted(counts: Counts) -> sparse.csr_array:
    return counts.pairs.next_liked
