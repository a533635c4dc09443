"""The one class a user meets: fit, score, recommend, adapt, explain, save."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from recllm.adaptation.adapters import Adapters
from recllm.data.catalog import Catalog
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.data.trained import TrainedOn
from recllm.encoders.text import TextEncoder, describe_items
from recllm.errors import ConfigError, DataError, NotFittedError
from recllm.explain.explainer import Explainer, Level
from recllm.explain.gathering import Background
from recllm.explain.overall import Overall
from recllm.explain.wording import reason_domains
from recllm.explaining import Reasons, check_explanation
from recllm.fitting import FitReport, Fitter, RecommenderConfig, untrained_model
from recllm.lists import Candidates, ListRequest, Lists, Served, list_columns
from recllm.model import Model
from recllm.options import TrainOptions
from recllm.prompting.llm import Generator, open_generator
from recllm.proof import Verification
from recllm.ranking.rules import best_items, check_list_options
from recllm.ranking.wishes import Wish
from recllm.results import Explanation, Explanations, Preview, Recommendation, Recommendations
from recllm.storage import adapter_card, load_recommender, save_recommender

__all__ = ["FitReport", "Recommender", "RecommenderConfig"]

Users = Interactions | Sequence[Any] | Mapping[Any, Any]
"""Events of known or new users, ids seen at fit, or a mapping id -> item ids or events."""


@final
class Recommender:
    """Learns a catalog and its event log, and recommends to users it knows and users it has never seen.

    Args:
        config: Hyper-parameters; the defaults are meant to hold everywhere.
    """

    def __init__(self, config: RecommenderConfig | None = None) -> None:
        self.config = config or RecommenderConfig()
        if self.config.domain not in reason_domains():
            raise ConfigError(f"domain {self.config.domain!r} is unknown; choose one of {', '.join(reason_domains())}.")
        self.report = FitReport()
        self._model: Model | None = None
        self._events: Interactions | None = None
        self._trained = TrainedOn.of(Interactions.from_mapping({}))
        self._seed = 0
        self._fingerprint: str | None = None
        self._explains: Reasons | None = None

    # -- learning -----------------------------------------------------------------------------------------------------

    def fit(self, catalog: Catalog, events: Interactions, *, options: TrainOptions | None = None) -> Self:
        """Learn from a catalog and the events of training users.

        Args:
            catalog: The items.
            events: The log; events about unknown items are left out (counted in `events.known_items(catalog).report`).
            options: Seed, device, time budget, progress.

        Raises:
            DataError: No event is about an item of the catalog, or the catalog is empty.
        """
        options = options or TrainOptions()
        known = events.known_items(catalog)
        fitter = Fitter(self.config, catalog, known, options)
        self._model = fitter.run()
        self.report, self._events, self._seed, self._fingerprint = fitter.report, known, options.seed, None
        self._trained = TrainedOn.of(known)
        return self

    @classmethod
    def from_catalog(
        cls, catalog: Catalog, adapter: str | None = None, *, config: RecommenderConfig | None = None
    ) -> "Recommender":
        """A recommender for a catalog without any events: whitened text similarity to what a user likes.

        Args:
            catalog: The items.
            adapter: A shipped adapter to start from; this version ships none.
            config: Hyper-parameters; adaptation needs events to be meta-trained and is off.
        """
        if adapter is not None:
            raise ConfigError(f"adapter {adapter!r} is unknown: this version ships no adapters; leave it out.")
        recommender = cls(config)
        recommender._model = untrained_model(recommender.config, catalog)
        recommender._events = Interactions.from_mapping({})
        return recommender

    # -- using --------------------------------------------------------------------------------------------------------

    def score(
        self,
        users: Users,
        item_ids: Sequence[Any] | Mapping[Any, Sequence[Any]],
        *,
        adapt: bool = True,
        adapters: Adapters | None = None,
    ) -> np.ndarray:
        """The ranking head's scores, float32 [users, items]; wishes are no part of them.

        Args:
            users: Whom to score for; events given here replace what was fitted.
            item_ids: The same items for all users, or each user's own. Rows of unequal length are filled with NaN.
            adapt: Whether users get their own adapter.
            adapters: Ready-made ones, from `adapt`.

        Returns:
            Scores in the order asked for; NaN for an item that the catalog does not have.
        """
        model = self._fitted()
        histories = self._histories(users, adapters)
        if isinstance(item_ids, Mapping):
            by_user = {str(user): list(ids) for user, ids in item_ids.items()}
            asked = [by_user.get(user, []) for user in histories.user_ids]
        else:
            asked = [list(item_ids)] * len(histories)
        result = np.full((len(histories), max(map(len, asked), default=0)), np.nan, dtype=np.float32)
        shared = None if isinstance(item_ids, Mapping) else model.catalog.rows(asked[0] if asked else [])
        for row, scores in enumerate(self._scores(histories, adapt, adapters)):
            rows = model.catalog.rows(asked[row]) if shared is None else shared
            known = rows >= 0
            result[row, : len(rows)][known] = scores[rows[known]]
        return result

    def recommend(
        self,
        users: Users,
        n: int = 10,
        *,
        adapt: bool = True,
        adapters: Adapters | None = None,
        explain: bool = False,
        candidates: Candidates = None,
        exclude_seen: bool = True,
        filters: Mapping[str, Any] | None = None,
        diversity: float = 0.0,
        without: Sequence[Any] | None = None,
        wishes: Sequence[Wish | str] | None = None,
    ) -> Recommendations:
        """Ranked lists, one per user, in the order of `users`.

        Args:
            users: Whom to recommend to; events given here replace what was fitted. Users without events get what is
                popular.
            n: Length of the lists; shorter where fewer items are eligible.
            adapt: Whether users get their own adapter; without, the meta-learned start is used.
            adapters: Ready-made adapters, from `adapt`.
            explain: Add a reason, its code and its evidence to every line.
            candidates: Only these items (all users alike, or each user's own).
            exclude_seen: Leave out what the user already has.
            filters: Only items with these column values, such as `{"categories": "Comedy"}`.
            diversity: 0 for the best scores, up to 1 for the greatest variety of texts.
            without: What is left out of the histories, as if it had not happened: items, and values of the catalog's
                columns (every item that has one). What the user has stays out of the list all the same.
            wishes: "more of Garden", "less of Toys", "never of Candles": values of columns, or words of titles and
                texts. More and less move scores by a third of the way from the user's average item to the best one;
                never means none.

        Raises:
            ConfigError: `n` or `diversity` is out of range.
            DataError: A filter names a column that is not there, or a wish means no item.
        """
        request = ListRequest(n, adapt, candidates, exclude_seen, filters, diversity, without, wishes)
        served, seen = self._served(request), self._histories(users, adapters)
        lists = self._lists(served, seen, adapters)
        reasons = {}
        if explain:
            explainer = Explainer(domain=self.config.domain)
            reasons = self._reasons.of(served, seen, lists.rows, explainer, _steps_of(adapters, seen.user_ids))
        return Recommendations(**lists.columns(self.catalog), **reasons, user_ids=seen.user_ids)

    def preview(
        self,
        users: Users,
        wishes: Sequence[Wish | str],
        n: int = 10,
        *,
        adapt: bool = True,
        adapters: Adapters | None = None,
    ) -> Preview:
        """What wishes would change: every item of the list with and without them, and its two places."""
        histories = self._histories(users, adapters)
        before, after = (
            self._lists(self._served(ListRequest(n, adapt, wishes=said)), histories, adapters).rows
            for said in (None, wishes)
        )
        return Preview.of(self.catalog.item_ids, self.catalog.titles, histories.user_ids, before, after)

    def adapt(self, users: Users, steps: int | None = None) -> Adapters:
        """Each user's own adapter, to be kept, updated and passed to `recommend` and `score`.

        Args:
            users: Whom to adapt to.
            steps: Gradient steps; None takes the configured number.

        Raises:
            ConfigError: The model has no adaptation.
        """
        model = self._fitted()
        if model.learner is None:
            raise ConfigError("this recommender has no adaptation (adaptation=None, or no events); fit one that has.")
        events = self._interactions(users)
        make = self.adapt_function(steps)
        return Adapters(events, make(events), self.fingerprint, make, steps)

    def adapt_function(self, steps: int | None = None) -> Callable[[Interactions], dict[str, Tensor]]:
        """From events to matrices with a user axis; what `Adapters` calls on new events."""

        def make(events: Interactions) -> dict[str, Tensor]:
            model = self._fitted()
            histories = make_histories(events, model.catalog, model.feedback, seed=self._seed)
            parts = [model.adapt(histories.of(batch), steps) for batch in self._batches(len(histories))]
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}

        return make

    def explain(
        self,
        users: Users,
        item_ids: Sequence[Any] | Mapping[Any, Sequence[Any]],
        generator: Generator | str | None = None,
        *,
        adapt: bool = True,
        n: int = 10,
        without: Sequence[Any] | None = None,
        wishes: Sequence[Wish | str] | None = None,
        level: Level | None = None,
    ) -> Explanations:
        """Why these items suit these users, or that nothing in their history says so.

        Args:
            users: As in `recommend`.
            item_ids: The same items for all users, or each user's own.
            generator: A language model that chooses or writes words, or its name for `open_generator`. Whatever it
                writes is checked against the evidence; what does not pass is replaced by a template.
            adapt: As in `recommend`.
            n: Length of the list that the explanation speaks of: "without X you would have seen Y".
            without: As in `recommend`.
            wishes: As in `recommend`.
            level: The rung of the ladder of words, L0 to L3; by default L0, with a generator what it is good for.

        Raises:
            DataError: An item that the catalog does not have.
        """
        catalog, histories = self.catalog, self._histories(users, None)
        per_user = {str(user): list(ids) for user, ids in item_ids.items()} if isinstance(item_ids, Mapping) else None
        asked = [per_user.get(user, []) if per_user is not None else list(item_ids) for user in histories.user_ids]
        rows = [catalog.rows(ids) for ids in asked]
        for ids, found in zip(asked, rows, strict=True):
            if (found < 0).any():
                raise DataError(f"item {ids[int(np.argmin(found))]!r} is not in the catalog; explain known items only.")
        if isinstance(generator, str):
            generator = open_generator(generator)
        explainer = Explainer(generator, domain=self.config.domain, level=level, detail="full")
        served = self._served(ListRequest(n, adapt, without=without, wishes=wishes))
        reasons = self._reasons.of(served, histories, rows, explainer)
        owners = np.repeat(np.arange(len(rows)), [len(found) for found in rows])
        flat = np.concatenate([np.zeros(0, dtype=np.int64), *rows])
        return Explanations(
            user_id=[histories.user_ids[owner] for owner in owners],
            item_id=[catalog.item_ids[row] for row in flat],
            title=[catalog.titles[row] for row in flat],
            user_ids=histories.user_ids,
            **reasons,
        )

    def explain_ranking(self, known: Sequence[int] = (0, 1, 5, 20), n: int = 10, users: int = 100) -> Overall:
        """What the ranking weighs, as a whole and in words; measured by silencing one channel after the other.

        Args:
            known: How many of a user's newest events the ranking is told.
            n: Length of the lists.
            users: How many of the remembered users are asked; those with the most events come first.

        Raises:
            DataError: No user is remembered.
        """
        events = self._known_events()
        histories = make_histories(events, self.catalog, self._fitted().feedback, seed=self._seed)
        chosen = np.argsort(-histories.lengths, kind="stable")[: min(users, self._fitted().batch_users)]
        if not len(chosen):
            raise DataError("no events of users are remembered, so there is nobody to ask; fit or update first.")
        return self._reasons.overall(histories.of(chosen), known, n)

    def verify_explanation(self, explanation: Mapping[str, Any] | Explanation | Recommendation) -> Verification:
        """Compute an explanation again from its proof, and compare: model, evidence and words.

        Args:
            explanation: A row of explanations, or of recommendations with reasons; also as a dictionary, or as read
                from `to_json`.

        Raises:
            DataError: It is no such line.
        """
        self._fitted()
        if isinstance(explanation, Explanation | Recommendation):
            explanation = asdict(explanation)
        return check_explanation(explanation, self._reasons, self.config.domain)

    def similar_items(self, item_ids: Sequence[Any], n: int = 10) -> Recommendations:
        """Items whose text is alike; `user_id` holds the item asked for, the score is a cosine."""
        model = self._fitted()
        rows = model.catalog.rows(item_ids)
        if (rows < 0).any():
            raise DataError(f"item {list(item_ids)[int(np.argmin(rows))]!r} is not in the catalog.")
        similarity = (model.channels.text[rows] @ model.channels.text.T).numpy()
        similarity[np.arange(len(rows)), rows] = -np.inf
        return self._ranked(model.catalog, [str(item) for item in item_ids], similarity, n)

    def search(self, text: str, n: int = 10) -> Recommendations:
        """Items whose text is closest to a few words; the score is a cosine."""
        if not text.strip():
            raise DataError("the search text is empty; write a few words, such as 'cosy winter lights'.")
        model = self._fitted()
        vector = model.whitening(TextEncoder(self.config.text, model.text_adapter).encode([text]))
        return self._ranked(model.catalog, [text], (torch.from_numpy(vector) @ model.channels.text.T).numpy(), n)

    # -- keeping ------------------------------------------------------------------------------------------------------

    def add_items(self, catalog: Catalog) -> Self:
        """Take in new items by their text, at once and without training; known ids are left as they are."""
        model = self._fitted()
        grown = model.catalog.extend(catalog)
        fresh = len(grown) - len(model.catalog)
        if fresh:
            encoder = TextEncoder(self.config.text, model.text_adapter)
            texts = describe_items(grown, encoder.prompt)[-fresh:]
            self._model = model.with_items(grown, encoder.encode(texts))
            self._fingerprint = None
        return self

    def update(self, events: Interactions) -> Self:
        """Remember new events of known and further users for later recommendations; nothing is trained again."""
        self._events = self._known_events().extend(events.known_items(self._fitted().catalog))
        return self

    def forget(self, user_ids: Iterable[Any]) -> Self:
        """Delete these users' events. Weights learned together with others stay; fit again to renew them."""
        self._events = self._known_events().without_users(user_ids)
        return self

    def save(self, folder: str | Path) -> None:
        """Write the recommender to a folder: safetensors, JSON and a card. An older one there is replaced.

        Raises:
            ArtifactError: The folder holds something else, or the disk refuses.
        """
        model, events = self._fitted(), self._known_events()
        save_recommender(folder, self.config, model, events, self._trained, self.report, self._seed, self.fingerprint)

    @classmethod
    def load(cls, folder: str | Path) -> "Recommender":
        """Read what `save` wrote.

        Raises:
            ArtifactError: A file is missing, damaged or not what it should be.
        """
        config, model, events, trained, report, seed = load_recommender(folder)
        recommender = cls(config)
        recommender._model, recommender._events, recommender.report, recommender._seed = model, events, report, seed
        recommender._trained = trained
        return recommender

    def export_text_adapter(self, folder: str | Path) -> None:
        """Write what fine-tuning taught the text encoder: PEFT's two files and a card.

        `SentenceTransformer(backbone).load_adapter(folder)` gives this recommender's text vectors, before whitening.

        Raises:
            ConfigError: The text encoder is the frozen one.
        """
        model = self._fitted()
        if model.text_adapter is None:
            raise ConfigError(
                "this recommender's text encoder is the frozen one, so there is no adapter to write; fit with "
                'finetune="lora" (the report says when that did not pay).'
            )
        model.text_adapter.write(folder, adapter_card(self.config, self.report))

    @property
    def catalog(self) -> Catalog:
        """The items this recommender knows."""
        return self._fitted().catalog

    @property
    def model(self) -> Model:
        """The fitted parts, for who wants to look inside."""
        return self._fitted()

    def with_model(self, model: Model, config: RecommenderConfig) -> "Recommender":
        """The same recommender with other parts, for experiments; nothing is trained."""
        other = Recommender(config)
        other._model, other._events, other._trained = model, self._known_events(), self._trained
        other.report, other._seed = self.report, self._seed
        return other

    @property
    def trained_on(self) -> TrainedOn:
        """Which users, and events up to when, shaped the weights; evaluation refuses them."""
        return self._trained

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what users' adapters depend on: encoder, item vectors, head and the meta-learned start."""
        if self._fingerprint is None:
            self._fingerprint = self._fitted().fingerprint()
        return self._fingerprint

    # -- inside -------------------------------------------------------------------------------------------------------

    def _fitted(self) -> Model:
        if self._model is None:
            raise NotFittedError("this recommender has not been fitted; call fit(catalog, events) or load a saved one.")
        return self._model

    def _known_events(self) -> Interactions:
        self._fitted()
        assert self._events is not None
        return self._events

    def _interactions(self, users: Users, adapters: Adapters | None = None) -> Interactions:
        if isinstance(users, Interactions):
            return users
        if isinstance(users, Mapping):
            return Interactions.from_mapping(users)
        ids = [users] if isinstance(users, str) else list(users)
        if any(isinstance(user, (Mapping, list, tuple)) for user in ids):
            raise DataError("users are Interactions, a sequence of ids, or a mapping from ids to items.")
        known = self._known_events()
        if adapters is None:
            return known.of_users(ids)
        # Users that came with the adapters are read from there: their events may be newer than what was fitted.
        kept = set(adapters.user_ids)
        theirs = adapters.events.of_users([user for user in ids if str(user) in kept])
        return known.without_users(kept).extend(theirs).of_users(ids) if len(kept) else known.of_users(ids)

    def _histories(self, users: Users, adapters: Adapters | None) -> Histories:
        model = self._fitted()
        return make_histories(self._interactions(users, adapters), model.catalog, model.feedback, seed=self._seed)

    def _batches(self, users: int) -> list[np.ndarray]:
        size = self._fitted().batch_users
        return [np.arange(start, min(start + size, users)) for start in range(0, users, size)]

    def _adapted(
        self, histories: Histories, adapt: bool, adapters: Adapters | None
    ) -> tuple[Histories, dict[str, Tensor] | None]:
        model = self._fitted()
        if not adapt or model.learner is None:
            return histories, None
        if adapters is None:
            return histories, model.adapt(histories)
        with torch.no_grad():
            return histories, adapters.stack(histories.user_ids, model.learner.start())

    def _scores(self, histories: Histories, adapt: bool, adapters: Adapters | None) -> Iterable[np.ndarray]:
        """float32 [items], user by user."""
        for batch in self._batches(len(histories)):
            yield from self._fitted().scores(*self._adapted(histories.of(batch), adapt, adapters)).numpy()

    def _ranked(self, catalog: Catalog, names: Sequence[str], scores: np.ndarray, n: int) -> Recommendations:
        check_list_options(n, 0.0)
        ties, everything = self._fitted().ties, np.ones(len(catalog), dtype=bool)
        rows = [best_items(line, everything & np.isfinite(line), ties, n) for line in scores]
        return Recommendations(
            **list_columns(catalog, names, rows, [line[found] for line, found in zip(scores, rows, strict=True)]),
            user_ids=list(names),
        )

    @property
    def _reasons(self) -> Reasons:
        """Kept as long as the model is: what it looks up in the catalog is looked up once."""
        model = self._fitted()
        if self._explains is None or self._explains.model is not model:
            background = Background(model.catalog, model.channels.popularity, model.feedback, self.config.explanation)
            self._explains = Reasons(model, background)
        return self._explains

    def _served(self, request: ListRequest) -> Served:
        return Served(self._fitted(), request, self._reasons.background.attributes)

    def _lists(self, served: Served, seen: Histories, adapters: Adapters | None) -> Lists:
        lists = Lists(served)
        for batch in self._batches(len(seen)):
            known, lora = self._adapted(served.known(seen.of(batch)), served.request.adapt, adapters)
            lists.add(seen.of(batch), known, lora)
        return lists


def _steps_of(adapters: Adapters | None, user_ids: Sequence[str]) -> list[int | None] | None:
    """Steps that each user was adapted with; whom the adapters do not know was served the start."""
    if adapters is None:
        return None
    kept = set(adapters.user_ids)
    return [adapters.steps if user in kept else 0 for user in user_ids]
