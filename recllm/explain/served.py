"""The served ranking as something to be explained: a function from what is known of one user to scores and lists."""

from collections.abc import Sequence
from functools import partial
from typing import final

import numpy as np
import torch

from recllm.data.histories import Histories
from recllm.explain.ranker import Columns, Ranking
from recllm.lists.orders import leading_channels
from recllm.lists.serve import Lists, Served
from recllm.retrieval.candidates import RANKED_WHOLE, Candidates

SAMPLE = 2048
"""Items that stand for what is not retrieved, in catalogs of which not all are ranked."""


@final
class ServedRanking:
    """What is served to one user, as a function of what is known of them; asked at one and the same moment.

    Args:
        served: The request as the model serves it.
        history: All that the user has.
        steps: Of adapting; None: as many as the model is configured for.
        items: Catalog rows that are asked about; they are scored whether they are retrieved or not.
    """

    def __init__(
        self, served: Served, history: Histories, steps: int | None = None, items: Sequence[int] | np.ndarray = ()
    ) -> None:
        self._served, self._model, self._steps = served, served.model, steps
        self._items = np.asarray(items, dtype=np.int64)
        self._eligible = served.eligible(history)
        self._asked_at = served.asked_at(history)
        plan, self._user = served.plan, history.user_ids[0]
        self._plain = plan.is_plain or plan.varies

    def __call__(self, histories: Histories) -> Ranking:
        """Adapt, retrieve and rank anew for each of these histories; all of them get scores of the same items."""
        parts = [histories.of(batch) for batch in histories.batches(self._model.listed_users)]
        adapted = [self._adapted(part) for part in parts]
        return self._ranking(parts, adapted, self._columns(self._retrieved(parts, adapted)))

    def scored(self, histories: Histories) -> Ranking:
        """Adapt and score anew the items that are asked about; nothing is retrieved."""
        parts = [histories.of(batch) for batch in histories.batches(self._model.listed_users)]
        nothing = torch.zeros(len(self._model.catalog), dtype=torch.bool)
        return self._ranking(parts, [self._adapted(part) for part in parts], self._columns(nothing))

    def _ranking(
        self, parts: Sequence[Histories], adapted: Sequence[dict[str, torch.Tensor] | None], columns: Columns
    ) -> Ranking:
        count = sum(map(len, parts))
        scores = []
        for part, lora in zip(parts, adapted, strict=True):
            for batch in part.batches(self._model.users_of(len(columns.rows))):
                own = None if lora is None else {name: matrix[batch] for name, matrix in lora.items()}
                same = Candidates.same(torch.from_numpy(columns.rows), len(batch), len(self._model.catalog))
                with self._model.threads_for(len(batch)):
                    found = self._served.rank_these(part.of(batch), own, same, np.repeat(self._asked_at, len(batch)))
                scores.append(found.scores.numpy())
        listed = np.broadcast_to(self._eligible[:, columns.rows], (count, len(columns.rows)))
        choose = None if self._plain else partial(self._choose, columns)
        return Ranking(np.concatenate(scores), listed, self._model.ties[columns.rows], columns, choose)

    def _columns(self, chosen: torch.Tensor) -> Columns:
        """All of a small catalog; else what is chosen of it, bool [items], and a sample of the rest."""
        items = len(self._model.catalog)
        if items <= RANKED_WHOLE:
            return Columns.all_of(items)
        chosen[torch.from_numpy(self._items)] = True
        return Columns.of(chosen.nonzero().flatten().numpy(), np.flatnonzero(self._model.ties < SAMPLE), items)

    def _retrieved(self, parts: Sequence[Histories], adapted: Sequence[dict[str, torch.Tensor] | None]) -> torch.Tensor:
        """bool [items]: what is retrieved for any of the histories."""
        chosen = torch.zeros(len(self._model.catalog), dtype=torch.bool)
        if len(chosen) <= RANKED_WHOLE:
            return chosen
        for part, lora in zip(parts, adapted, strict=True):
            eligible = torch.from_numpy(self._eligible).expand(len(part), -1)
            now = np.repeat(self._asked_at, len(part))
            with self._model.threads_for(len(part)):
                chosen |= self._served.retrieve(part, lora, eligible, now).any(dim=0)
        return chosen

    def _choose(self, columns: Columns, scores: np.ndarray, listed: np.ndarray, n: int) -> np.ndarray:
        """The list that the rules make."""
        items = len(self._model.catalog)
        line, allowed = np.full(items, -np.inf, dtype=np.float32), np.zeros(items, dtype=bool)
        line[columns.rows], allowed[columns.rows] = scores, listed
        return self._served.plan.rows(self._user, line, allowed, n)

    def channels_of(self, history: Histories, items: np.ndarray) -> list[str]:
        """The channel in which each item stands out most."""
        rows = torch.from_numpy(items).unsqueeze(0)
        with self._model.threads_for(len(history)):
            profiles = self._model.profiles(history, self._adapted(history), self._asked_at)
            scores = self._model.channels.scores_of(profiles, rows)
        names = self._model.channels.names
        best = leading_channels(self._served.request.by, names, scores[0])
        return [names[channel] for channel in best.tolist()]

    def lists(self, history: Histories) -> Lists:
        """The list as it is served."""
        lists, known = Lists(self._served), self._served.known(history)
        with self._model.threads_for(len(known)):
            lists.add(history, known, self._adapted(known))
        return lists

    def _adapted(self, histories: Histories) -> dict[str, torch.Tensor] | None:
        adapt = self._served.request.adapt and self._model.learner is not None
        return self._model.adapt(histories, self._steps) if adapt else None
