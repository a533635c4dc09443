"""Reasons for served lists: the served ranking as something to be explained, evidence, words, and the proof."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import torch

from recllm.data.histories import Histories
from recllm.errors import DataError
from recllm.explain.evidence import Evidence
from recllm.explain.explainer import Explainer
from recllm.explain.gathering import Background, gather_evidence, not_by_history
from recllm.explain.overall import Influence, Overall, influences
from recllm.explain.proof import Proof, differences, digest_of, seal_of
from recllm.explain.repeats import grouped
from recllm.explain.served import ServedRanking
from recllm.lists.request import ListRequest
from recllm.lists.results import Explanations
from recllm.lists.serve import Lists, Served
from recllm.model.config import RecommenderConfig
from recllm.model.fitted import Fitted
from recllm.model.model import Model


@final
@dataclass
class Reasons:
    """Explains lists of one model.

    Attributes:
        model: The fitted parts.
        background: What may be named.
    """

    model: Model
    background: Background

    @classmethod
    def by(cls, state: Fitted) -> "Reasons":
        """Of what answers now."""
        return state.once(_reasons)

    def of(
        self,
        served: Served,
        histories: Histories,
        rows: Sequence[np.ndarray],
        explainer: Explainer,
        *,
        lists: Lists | None = None,
        steps: Sequence[int | None] | None = None,
    ) -> dict[str, Any]:
        """Columns of reasons for the items `rows` of each user, user by user.

        Args:
            served: What was asked for.
            histories: All that the users have.
            rows: [users], catalog rows.
            explainer: Finds the words.
            lists: The lists that `rows` are; None: they are items that were asked about.
            steps: [users], of ready-made adapters; None: users were adapted to their histories, as the model is
                configured.
        """
        ready_made = steps is not None
        steps = [None] * len(rows) if steps is None else steps
        evidence = grouped(self.evidence(served, histories, rows, steps))
        wordings = explainer.explain(evidence)
        columns: dict[str, list[Any]] = {
            "explanation": [wording.text for wording in wordings],
            "reason_code": [found.reason_code for found in evidence],
            "evidence": [
                {**found.to_dict(), "wording": wording.to_dict()}
                for found, wording in zip(evidence, wordings, strict=True)
            ],
        }
        proofs = []
        for user in range(len(rows)):
            history = histories.of([user])
            remade = lists is None or not ready_made or self._remade(served, history, lists, user, steps[user])
            proof = Proof.of(
                self.digest,
                replace(served.request, without=self._meant(served.request.without)),
                history,
                self.model.catalog,
                about="item" if lists is None else "line",
                remade=remade,
                level=explainer.level,
                detail=explainer.detail,
                audience=explainer.audience,
                steps=steps[user],
            ).to_dict()
            proofs.append(proof)
        return {**columns, "proof": self._sealed(proofs, rows, columns, lists)}

    def _meant(self, without: Sequence[str] | None) -> list[str]:
        """What of it the catalog knows; the rest is passed over."""
        rows, attributes = self.model.catalog.rows(without or ()), self.model.attributes
        named = zip(without or (), rows.tolist(), strict=True)
        return [one for one, row in named if row >= 0 or attributes.items_valued(one).any()]

    def _remade(self, served: Served, history: Histories, lists: Lists, user: int, steps: int | None) -> bool:
        """Whether adapting anew gives the user's list."""
        again = ServedRanking(served, history, steps).lists(history)
        same = np.array_equal(again.rows[0], lists.rows[user])
        return same and not differences(lists.scores[user].tolist(), again.scores[0].tolist())

    def _sealed(
        self,
        proofs: Sequence[dict[str, Any]],
        rows: Sequence[np.ndarray],
        columns: Mapping[str, list[Any]],
        lists: Lists | None,
    ) -> list[dict[str, Any]]:
        """Each row's proof: its user's, and a seal over the row."""
        catalog = self.model.catalog
        sealed: list[dict[str, Any]] = []
        for user, (proof, items) in enumerate(zip(proofs, rows, strict=True)):
            digest = digest_of(proof)
            for number, item in enumerate(items.tolist()):
                row = {name: column[len(sealed)] for name, column in columns.items()}
                row |= {"user_id": proof["user_id"], "item_id": catalog.item_ids[item], "title": catalog.titles[item]}
                if lists is not None:
                    row |= {"rank": number + 1, "score": float(lists.scores[user][number])}
                sealed.append({**proof, "seal": seal_of(row, digest)})
        return sealed

    def evidence(
        self, served: Served, histories: Histories, rows: Sequence[np.ndarray], steps: Sequence[int | None]
    ) -> list[Evidence]:
        """Evidence for the items `rows` of each user, user by user."""
        evidence = []
        for user, items in enumerate(rows):
            if not len(items):
                continue
            history = histories.of([user])
            known = served.known(history)
            ranking = ServedRanking(served, history, steps[user], items)
            found = gather_evidence(
                ranking,
                known,
                0,
                items,
                self.background,
                n=served.request.n,
                channels=ranking.channels_of(known, items),
                wishes=self._granted(served, history, items, steps[user]) if len(served.wishes) else None,
                owned=np.isin(items, history.item_rows).tolist(),
            )
            if not len(known.item_rows):
                found = self._by_profile(found, served, history, items)
            evidence += self._promoted(found, served, history, items, steps[user])
        # Counterfactuals speak of lists that follow from scores; of one that was made varied they might not be true.
        return [replace(one, counterfactual=None) for one in evidence] if served.plan.varies else evidence

    def _promoted(
        self, evidence: Sequence[Evidence], served: Served, history: Histories, items: np.ndarray, steps: int | None
    ) -> list[Evidence]:
        """What is pinned, or would not be in the list without its boost, is there because of that and nothing else."""
        request, plan = served.request, served.plan
        promoted = np.isin(items, plan.pinned(history.user_ids[0]))
        if plan.term is not None:
            usual = Served(self.model, replace(request, rules=replace(request.rules, boosted=None)))
            promoted |= (plan.term.numpy()[items] > 0) & ~np.isin(items, [*_listed(usual, history, steps)])
        promoted &= served.eligible(history)[0][items]
        return [
            not_by_history(one, "promoted") if is_promoted else one
            for one, is_promoted in zip(evidence, promoted, strict=True)
        ]

    def _by_profile(
        self, evidence: Sequence[Evidence], served: Served, history: Histories, items: np.ndarray
    ) -> list[Evidence]:
        """Without a history, what would not be in the list without the user's profile is there because of it."""
        channels = self.model.channels
        if not channels.people.matrix(history.user_ids).nnz:
            return list(evidence)
        bare = self.model.with_channels(channels.changed(people=channels.people.without(history.user_ids)))
        alone = Served(bare, replace(served.request, wishes=None))
        listed = _listed(alone, history, None)
        return [
            replace(one, reason_code="profile") if one.reason_code == "cold_start" and item not in listed else one
            for one, item in zip(evidence, items.tolist(), strict=True)
        ]

    def overall(self, histories: Histories, known: Sequence[int], n: int) -> Overall:
        """What the ranker weighs when the newest 0, 1, … events of these users are known."""
        found = [one for count in known for one in self._influences(histories.last(count), count, n)]
        return Overall(tuple(found), {channel.name: channel.words for channel in self.model.channels.fitted}, n)

    def _influences(self, histories: Histories, known: int, n: int) -> list[Influence]:
        model = self.model
        eligible = np.ones((len(histories), len(model.catalog)), dtype=bool)
        eligible[histories.user_rows, histories.item_rows] = False

        def head(channels: np.ndarray) -> np.ndarray:
            return model.rank(histories, torch.from_numpy(channels)).numpy()

        if not known and model.channels.newcomers is not None:  # the same order for everybody, whatever channels say
            told = [(name, float(name == "popularity")) for name in model.channels.names]
            found = [Influence(0, len(histories), name, share, share) for name, share in told]
            return sorted(found, key=lambda one: -one.share)
        channels = model.channel_scores(histories, None).numpy()
        return influences(head, channels, eligible, model.channels.names, n=n, known=known)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole model."""
        return self.model.digest()

    def _granted(
        self, served: Served, history: Histories, items: np.ndarray, steps: int | None
    ) -> list[tuple[str, ...]]:
        """For each item, the wishes without which it would not be in the list."""
        usual = Served(self.model, replace(served.request, wishes=None))
        listed, listable = _listed(usual, history, steps), served.eligible(history)[0]
        return [served.wishes.raising(item) if listable[item] and item not in listed else () for item in items.tolist()]


def _listed(served: Served, history: Histories, steps: int | None) -> set[int]:
    """Rows of the list that one user would be served, its rules and its variety included."""
    return set(ServedRanking(served, history, steps).lists(history).rows[0].tolist())


def explanations(
    state: Fitted, histories: Histories, items: dict[str, list[str]] | list[str], request: ListRequest, words: Explainer
) -> Explanations:
    """See `Recommender.explain`."""
    rows, catalog = state.rows_of(items, histories.user_ids), state.model.catalog
    reasons = Reasons.by(state).of(Served(state.model, request), histories, rows, words)
    owners = np.repeat(np.arange(len(rows)), [len(found) for found in rows])
    flat = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
    return Explanations(
        user_id=[histories.user_ids[owner] for owner in owners],
        item_id=[catalog.item_ids[row] for row in flat],
        title=[catalog.titles[row] for row in flat],
        user_ids=histories.user_ids,
        **reasons,
    )


def weighed(state: Fitted, known: Sequence[int], n: int, users: int) -> Overall:
    """See `Recommender.explain_ranking`."""
    histories, _ = state.histories(state.memory.log)
    chosen = np.argsort(-histories.lengths, kind="stable")[: min(users, state.model.batch_users)]
    if not len(chosen):
        raise DataError("no events of users are remembered, so there is nobody to ask; fit or update first.")
    return Reasons.by(state).overall(histories.of(chosen), known, n)


def _reasons(model: Model, config: RecommenderConfig) -> Reasons:
    popularity = model.channels.popularity.liked
    return Reasons(model, Background(model.catalog, popularity, model.feedback, config.explanation, model.attributes))
