"""How far off the ratings are that a method predicts."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from recllm.data.interactions import Interactions
from recllm.evaluation.arms import Arm
from recllm.evaluation.metrics import rating_errors
from recllm.evaluation.split import Split


@runtime_checkable
class Rater(Protocol):
    """Anything that predicts ratings."""

    def rate(self, users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        """float [users, items], NaN where nothing can be said."""
        ...


def actual_ratings(arm: Arm) -> NDArray[np.float64] | None:
    """What was rated, float64 [events of the query], NaN where it was not; None in a log without ratings."""
    actual = arm.query.ratings.astype(np.float64)
    return actual if np.isfinite(actual).any() else None


def errors_of(method: Any, split: Split) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Arm -> metric -> [users], where ratings are on a scale and the method predicts them."""
    if not isinstance(method, Rater) or split.feedback.scale is None:
        return {}
    errors, items = {}, list(split.catalog.item_ids)
    for arm in split.arms:
        actual = actual_ratings(arm)
        if actual is not None:
            query = arm.query
            predicted = np.asarray(method.rate(arm.known_events(), items))[query.user_rows, query.item_rows]
            errors[arm.name] = rating_errors(predicted, actual, query.user_rows, len(arm), split.feedback.liked_from)
    return errors
