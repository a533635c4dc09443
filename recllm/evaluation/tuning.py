"""Settings of baselines are chosen on validation users, like everything else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.interactions import Interactions
from recllm.errors import DataError
from recllm.evaluation.arms import Arm
from recllm.evaluation.baselines.baseline import Baseline, Known
from recllm.evaluation.baselines.rating import RatingBaseline
from recllm.evaluation.baselines.registry import baseline_named
from recllm.evaluation.metrics import ndcg_at_10, rating_errors
from recllm.evaluation.ratings import actual_ratings
from recllm.evaluation.scorers import rank_scores
from recllm.ranking.rules import tie_order

Setting = Mapping[str, Any]


@final
@dataclass(frozen=True, eq=False)
class Tuned:
    """A baseline with the settings that did best.

    Attributes:
        settings: The chosen ones.
        value: Their mean NDCG@10 (or RMSE) over users and arms.
        tried: Everything that was tried, and its value.
        baseline: Fitted with the chosen settings.
    """

    settings: dict[str, Any]
    value: float
    tried: tuple[tuple[Setting, float], ...]
    baseline: Baseline


# Half of its lines say what it does.
def tune(
    kind: type[Baseline] | str,
    catalog: Catalog,
    fitting: Interactions,
    validation: Sequence[Arm],
    *,
    common: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
    figure: Literal["NDCG@10", "RMSE"] = "NDCG@10",
) -> Tuned:
    """Choose a baseline's settings by mean NDCG@10 over arms of validation users, each arm counting the same.

    Arms without shots count only if there are no others. Of equal values the first of `choices` wins. What only
    scoring looks at is varied without fitting again. Where every event is liked, liked ones alone are not tried.

    Args:
        kind: The baseline or its name.
        catalog: The items.
        fitting: The log to learn from, without the validation users.
        validation: Arms with their log.
        common: Settings for every try, where the baseline has them: `{"text": TextEncoderConfig(…), "seed": 1}`.
        progress: Called with (settings tried, settings in all).
        figure: What to choose by: how good lists are, or how far off predicted ratings.

    Raises:
        ConfigError: There is no such baseline.
        DataError: There is no validation user with a liked item to find.
    """
    kind = baseline_named(kind) if isinstance(kind, str) else kind
    common = {name: value for name, value in (common or {}).items() if name in kind.__dataclass_fields__}
    feedback = Feedback.infer(fitting.frame)
    known = Known.from_log(fitting, catalog, feedback, common.get("seed", 0))
    arms = [arm for arm in validation if arm.shots] or validation
    questions = _questions(catalog, feedback, arms, common.get("seed", 0))
    choices = kind.choices
    parts = [known, *(question.known for question in questions)]
    if all((part.histories.signals > 0).all() for part in parts):  # all events and liked ones are the same
        choices = [choice for choice in choices if choice.get("events") != "liked"]
    tried: list[tuple[Setting, float]] = []
    best: Baseline | None = None
    sign = 1.0 if figure == "NDCG@10" else -1.0
    best_value = -np.inf
    for group in _sharing_a_fit(kind, choices):
        fitted = kind(**common, **group[0]).fit_known(catalog, feedback, known)
        for choice in group:
            candidate = fitted.reading(**{name: choice[name] for name in kind.at_scoring & set(choice)})
            found = [question.ndcg(candidate) if sign > 0 else question.rmse(candidate) for question in questions]
            value = float(np.mean([one.mean() for one in found if len(one)]))
            tried.append((choice, value))
            if sign * value > best_value:
                best, best_value = candidate, sign * value
            if progress is not None:
                progress(len(tried), len(choices))
    assert best is not None
    return Tuned(best.settings, sign * best_value, tuple(tried), best)


def _sharing_a_fit(kind: type[Baseline], choices: Sequence[Setting]) -> list[list[Setting]]:
    groups: dict[tuple[Any, ...], list[Setting]] = {}
    for choice in choices:
        fit = tuple((name, value) for name, value in choice.items() if name not in kind.at_scoring)
        groups.setdefault(fit, []).append(choice)
    return list(groups.values())


@dataclass(frozen=True)
class _Question:
    """An arm, with all that does not depend on who is asked."""

    arm: Arm
    known: Known
    wanted: sparse.csr_array
    ties: NDArray[np.int64]

    def ndcg(self, baseline: Baseline) -> NDArray[np.float64]:
        """NDCG@10: float64 [users with something to find]."""
        everyone = np.arange(len(self.arm))

        def scores(tasks: slice) -> NDArray[np.float32]:
            return baseline.scores_of(self.known.of_users(everyone[tasks]))

        found = ndcg_at_10(rank_scores(self.arm, self.ties, scores, length=10).rows, self.wanted)
        return found[~np.isnan(found)]

    def rmse(self, baseline: Baseline) -> NDArray[np.float64]:
        """RMSE over users, float64 [1]; [0] without a rating to predict."""
        actual = actual_ratings(self.arm)
        if actual is None or not isinstance(baseline, RatingBaseline):
            return np.zeros(0)
        query = self.arm.query
        predicted = baseline.rates_of(self.known)[query.user_rows, query.item_rows]
        squares = rating_errors(predicted, actual, query.user_rows, len(self.arm))["MSE"]
        return np.sqrt(np.nanmean(squares, keepdims=True))


def _questions(catalog: Catalog, feedback: Feedback, arms: Sequence[Arm], seed: int) -> list[_Question]:
    ties = tie_order(catalog.item_ids)
    known = [Known.from_log(arm.known_events(), catalog, feedback, seed) for arm in arms]
    questions = [_Question(arm, one, arm.asked(len(catalog)), ties) for arm, one in zip(arms, known, strict=True)]
    if not sum(question.wanted.nnz for question in questions):
        raise DataError(
            f"tuning needs validation users with liked items to find; {len(arms)} arms with "
            f"{sum(map(len, arms))} users have none. Give more validation users."
        )
    return questions
