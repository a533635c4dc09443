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
from recllm.explain.gathering import Background, gather_evidence
from recllm.explain.overall import Influence, Overall, influences
from recllm.explain.ranker import Ranking
from recllm.explain.verify import complaints
from recllm.explain.wording import word
from recllm.lists import Served
from recllm.model import Model
from recllm.proof import Check, Proof, Verification, differences
from recllm.request import ListRequest
from recllm.retrieval.channels import IN_WORDS


@final
class ServedRanking:
    """What is served to one user, as a function of what is known of them; asked at one and the same moment.

    Args:
        served: The request as the model serves it.
        history: All that the user has.
        steps: Of adapting; None: as many as the model is configured for.
    """

    def __init__(self, served: Served, history: Histories, steps: int | None = None) -> None:
        self._served, self._model, self._steps = served, served.model, steps
        self._eligible = torch.from_numpy(served.eligible(history))
        self._asked_at = served.asked_at(history)

    def __call__(self, histories: Histories) -> Ranking:
        """Adapt, retrieve and rank anew for each of these histories."""
        size = self._model.batch_users
        scores, listed = [], []
        for start in range(0, len(histories), size):
            part = histories.of(np.arange(start, min(start + size, len(histories))))
            now = np.repeat(self._asked_at, len(part))
            batch = self._served.rank(part, self._adapted(part), self._eligible.expand(len(part), -1), now)
            scores.append(batch.scores.numpy())
            listed.append(batch.retrieved.numpy())
        return Ranking(np.concatenate(scores), np.concatenate(listed), self._model.ties)

    def channels_of(self, history: Histories, items: np.ndarray) -> list[str]:
        """The channel in which each item stands out most."""
        scores = self._model.channel_scores(history, self._adapted(history), self._asked_at)
        best = scores[0][:, torch.from_numpy(items)].argmax(dim=0).tolist()
        return [self._model.channels.names[channel] for channel in best]

    def _adapted(self, histories: Histories) -> dict[str, torch.Tensor] | None:
        adapt = self._served.request.adapt and self._model.learner is not None
        return self._model.adapt(histories, self._steps) if adapt else None


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

    def of(
        self,
        served: Served,
        histories: Histories,
        rows: Sequence[np.ndarray],
        explainer: Explainer,
        steps: Sequence[int | None] | None = None,
    ) -> dict[str, Any]:
        """Columns of reasons for the items `rows` of each user, user by user.

        Args:
            served: What was asked for.
            histories: All that the users have.
            rows: [users], catalog rows.
            explainer: Finds the words.
            steps: [users], of adapting, where that is not as the model is configured.
        """
        steps = [None] * len(rows) if steps is None else steps
        evidence = self.evidence(served, histories, rows, steps)
        wordings = explainer.explain(evidence)
        proofs = [
            proof
            for user, items in enumerate(rows)
            for proof in [self._proof(served.request, histories.of([user]), steps[user])] * len(items)
        ]
        return {
            "explanation": [wording.text for wording in wordings],
            "reason_code": [found.reason_code for found in evidence],
            "evidence": [
                {**found.to_dict(), "wording": wording.to_dict()}
                for found, wording in zip(evidence, wordings, strict=True)
            ],
            "proof": proofs,
        }

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
            ranking = ServedRanking(served, history, steps[user])
            evidence += gather_evidence(
                ranking,
                known,
                0,
                items,
                self.background,
                n=served.request.n,
                channels=ranking.channels_of(known, items),
                wishes=self._granted(served, history, items, steps[user]) if len(served.wishes) else None,
            )
        # Counterfactuals speak of the list by score; of a list that was made varied they might not be true.
        return [replace(one, counterfactual=None) for one in evidence] if served.request.diversity else evidence

    def overall(self, histories: Histories, known: Sequence[int], n: int) -> Overall:
        """What the ranker weighs when the newest 0, 1, … events of these users are known."""
        found = [one for count in known for one in self._influences(histories.last(count), count, n)]
        return Overall(tuple(found), {name: IN_WORDS[name] for name in self.model.channels.names}, n)

    def _influences(self, histories: Histories, known: int, n: int) -> list[Influence]:
        model = self.model
        eligible = np.ones((len(histories), len(model.catalog)), dtype=bool)
        eligible[histories.user_rows, histories.item_rows] = False

        def head(channels: np.ndarray) -> np.ndarray:
            return model.rank(histories, torch.from_numpy(channels)).numpy()

        channels = model.channel_scores(histories, None).numpy()
        return influences(head, channels, eligible, model.channels.names, n=n, known=known)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole model."""
        return self.model.digest()

    def _proof(self, request: ListRequest, history: Histories, steps: int | None) -> dict[str, Any]:
        return Proof.of(self.digest, request, history, self.model.catalog, steps).to_dict()

    def _granted(
        self, served: Served, history: Histories, items: np.ndarray, steps: int | None
    ) -> list[tuple[str, ...]]:
        """For each item, the wishes without which it would not be in the list."""
        usual = Served(self.model, replace(served.request, wishes=None), self.background.attributes)
        top = ServedRanking(usual, history, steps)(usual.known(history)).top(0, served.request.n)
        return [() if item in top else served.wishes.raising(item) for item in items.tolist()]


def check_explanation(explanation: Mapping[str, Any], reasons: Reasons, domain: str) -> Verification:
    """See `Recommender.verify_explanation`."""
    said, text, proof = _parts(explanation)
    item, user = str(explanation.get("item_id")), str(explanation.get("user_id"))
    catalog = reasons.model.catalog
    row = catalog.rows([item])
    if row[0] < 0:
        raise DataError(f"the explanation is about item {item!r}, which the model's catalog does not have.")
    another = "it was made by another model; verify it with that one" if proof.model != reasons.digest else ""
    histories = proof.histories(catalog, reasons.model.feedback)
    served = Served(reasons.model, proof.request.to_list_request(), reasons.background.attributes)
    (found,) = reasons.evidence(served, histories, [row], [proof.request.steps])
    known = [] if proof.user_id == user else [f"the proof is of user {proof.user_id!r}, the explanation of {user!r}"]
    return Verification(
        user,
        item,
        (
            Check("model", (another,) if another else ()),
            Check("evidence", tuple(known + differences(said, found.to_dict()))),
            Check("reason code", tuple(differences(explanation.get("reason_code"), found.reason_code, "reason_code"))),
            Check("words", _words(text, explanation["evidence"].get("wording", {}), found, domain)),
        ),
    )


def _parts(explanation: Mapping[str, Any]) -> tuple[dict[str, Any], str, Proof]:
    """Evidence without its wording, the words, the proof."""
    if not isinstance(explanation, Mapping):
        raise DataError(f"an explanation is a JSON object; got {type(explanation).__name__}.")
    evidence, text = explanation.get("evidence"), explanation.get("explanation")
    if not isinstance(evidence, dict) or not isinstance(text, str) or "proof" not in explanation:
        raise DataError("an explanation has the fields evidence, explanation and proof; take a line of to_json().")
    said = {name: value for name, value in evidence.items() if name != "wording"}
    return said, text, Proof.from_dict(explanation["proof"])


def _words(text: str, wording: Any, evidence: Evidence, domain: str) -> tuple[str, ...]:
    """Template text has to be the template's; any other has to say nothing that the evidence does not hold."""
    method = wording.get("method") if isinstance(wording, dict) else None
    if method == "L0":
        expected = (word(evidence, domain, detail="short"), word(evidence, domain, detail="full"))
        return () if text in expected else (f"the words are {text!r}, and the template says {expected[-1]!r}",)
    return complaints(text, evidence, domain=domain)
