"""Settings of baselines are chosen on validation users, like everything else."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.interactions import Interactions
from recllm.errors import DataError
from recllm.evaluation.arms import Arm
from recllm.evaluation.baselines.baseline import Baseline, Known
from recllm.evaluation.baselines.registry import baseline_named
from recllm.ranking.rules import best_lists, tie_order

Setting = Mapping[str, Any]

USERS_TOGETHER = 256
LIST = 10
DISCOUNT = 1.0 / np.log2(np.arange(2, LIST + 2))


@final
@dataclass(frozen=True, eq=False)
class Tuned:
    """A baseline with the settings that did best.

    Attributes:
        settings: The chosen ones.
        value: Their mean NDCG@10 over users and arms.
        tried: Everything that was tried, and its value.
        baseline: Fitted with the chosen settings.
    """

    settings: dict[str, Any]
    value: float
    tried: tuple[tuple[Setting, float], ...]
    baseline: Baseline


def tune(
    kind: type[Baseline] | str,
    catalog: Catalog,
    fitting: Interactions,
    validation: Sequence[Arm],
    *,
    common: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
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

    Raises:
        ConfigError: There is no such baseline.
        DataError: There is no validation user with a liked item to find.
    """
    kind = baseline_named(kind) if isinstance(kind, str) else kind
    common = {name: value for name, value in (common or {}).items() if name in kind.__dataclass_fields__}
    exam = _Exam(catalog, [arm for arm in validation if arm.shots] or validation)
    feedback = Feedback.infer(fitting.frame)
    known = Known.from_log(fitting, catalog, feedback, common.get("seed", 0))
    asked = [Known.from_log(arm.known_events(), catalog, feedback, common.get("seed", 0)) for arm in exam.arms]
    choices = kind.choices
    if all((part.histories.signals > 0).all() for part in (known, *asked)):  # all events and liked ones are the same
        choices = [choice for choice in choices if choice.get("events") != "liked"]
    tried: list[tuple[Setting, float]] = []
    best: Baseline | None = None
    best_value = -1.0
    for group in _sharing_a_fit(kind, choices):
        fitted = kind(**common, **group[0]).fit_known(catalog, feedback, known)
        for choice in group:
            candidate = fitted.reading(**{name: choice[name] for name in kind.at_scoring & set(choice)})
            value = exam.grade(candidate, asked)
            tried.append((choice, value))
            if value > best_value:
                best, best_value = candidate, value
            if progress is not None:
                progress(len(tried), len(choices))
    assert best is not None
    return Tuned(best.settings, best_value, tuple(tried), best)


def _sharing_a_fit(kind: type[Baseline], choices: Sequence[Setting]) -> list[list[Setting]]:
    groups: dict[tuple[Any, ...], list[Setting]] = {}
    for choice in choices:
        fit = tuple((name, value) for name, value in choice.items() if name not in kind.at_scoring)
        groups.setdefault(fit, []).append(choice)
    return list(groups.values())


class _Exam:
    """The arms, with all that does not depend on who is graded."""

    def __init__(self, catalog: Catalog, arms: Sequence[Arm]) -> None:
        self.items = len(catalog)
        self.ties = tie_order(catalog.item_ids)
        self.arms = arms
        self.wanted = [arm.asked(self.items) for arm in arms]
        if not sum(wanted.nnz for wanted in self.wanted):
            raise DataError(
                f"tuning needs validation users with liked items to find; {len(arms)} arms with "
                f"{sum(map(len, arms))} users have none. Give more validation users."
            )

    def grade(self, baseline: Baseline, asked: Sequence[Known]) -> float:
        values = [self._ndcg(baseline, arm, known) for arm, known in enumerate(asked)]
        return float(np.mean([value.mean() for value in values if len(value)]))

    def _ndcg(self, baseline: Baseline, arm: int, known: Known) -> NDArray[np.float64]:
        """float64 [users with something to find]."""
        parts = [np.zeros(0)]
        for start in range(0, len(self.arms[arm]), USERS_TOGETHER):
            tasks = slice(start, min(start + USERS_TOGETHER, len(self.arms[arm])))
            scores = baseline.scores_of(known.of_users(np.arange(len(self.arms[arm]))[tasks]))
            rows = best_lists(scores, self.arms[arm].allowed(tasks, self.items), self.ties, LIST)
            wanted = self.wanted[arm][tasks].toarray()
            hits = np.take_along_axis(wanted, np.maximum(rows, 0), axis=1) & (rows >= 0)
            found = wanted.sum(axis=1)
            ideal = np.concatenate([[np.nan], np.cumsum(DISCOUNT)])[np.minimum(found, LIST)]
            parts.append((hits @ DISCOUNT / ideal)[found > 0])
        return np.concatenate(parts)
