"""The one class a user meets: fit, score, recommend, adapt, explain, save."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self, Unpack, final

import numpy as np
from torch import Tensor

from recllm.adaptation.adapters import Adapters, kept_for
from recllm.adaptation.drift import Drift
from recllm.adaptation.shop import ShopAdapters
from recllm.counts.counts import Counts
from recllm.data.catalog import Catalog
from recllm.data.doors import (
    known_among,
    of_kind,
    read_catalog,
    read_events,
    read_items,
    read_path,
    read_profiles,
    read_user_ids,
    read_users,
    real_number,
    truth,
    whole_number,
)
from recllm.data.ids import elements
from recllm.data.interactions import Interactions
from recllm.data.process import stay_in_process
from recllm.data.saved import LATEST
from recllm.data.trained import TrainedOn
from recllm.errors import AdapterMismatch, ConfigError, DataError, NotFittedError
from recllm.explain.explainer import Audience, Explainer, Level
from recllm.explain.overall import Overall
from recllm.explain.proof import Verification
from recllm.explain.reasons import Reasons, explanations, weighed
from recllm.explain.rows import check_explanation
from recllm.lists.answers import predicted_ratings, scores_of, search
from recllm.lists.orders import By
from recllm.lists.paths import paths
from recllm.lists.request import ListRequest
from recllm.lists.results import Explanation, Explanations, Preview, Recommendation, Recommendations
from recllm.lists.serve import Lists
from recllm.lists.similar import Likeness, similar_for, similar_items
from recllm.model.asked import histories_of
from recllm.model.card import adapter_card
from recllm.model.config import RecommenderConfig
from recllm.model.fit.stages import fit
from recllm.model.fit.unseen import of_catalog
from recllm.model.fitted import Fitted, tell
from recllm.model.freshness import Freshness
from recllm.model.model import Model
from recllm.model.params import changed, flat
from recllm.model.profiled import Remembered, showing, with_profiles, without_profiles
from recllm.model.report import FitReport
from recllm.model.storage import load_recommender, save_recommender
from recllm.options import TrainOptions
from recllm.prompting.generator import Generator
from recllm.prompting.open import open_generator
from recllm.prompting.template import Prompt, load_prompt
from recllm.ranking.asked import RuleOptions, Rules
from recllm.ranking.wishes import Wish
from recllm.tuning.items import item_prompt

__all__ = ["FitReport", "Recommender", "RecommenderConfig"]

Prompts = Prompt | str | PathLike[str] | None
"""What puts items into words: `auto`, a folder of prompts, a prompt, its file or its name; None: the settings say."""

Users = Any
"""Events of known or new users (`Interactions` or a data frame), ids of users who are remembered (one or several, in
any form), or a mapping id -> item ids or events. 3, 3.0 and "3" are one id; see `recllm.data.doors`."""

Items = Any
"""Ids of items, one or several, in any form: the same for all users; or a mapping or a table with each user's own."""


@final
class Recommender:
    """Learns a catalog and its event log, and recommends to users it knows and users it has never seen.

    May be used by several threads: what answers is never changed, and whatever learns, remembers or forgets puts
    another in its place. A call that has begun ends with what it began with.

    Args:
        config: Hyper-parameters; the defaults are meant to hold everywhere.
    """

    def __init__(self, config: RecommenderConfig | None = None) -> None:
        self.config = of_kind(RecommenderConfig() if config is None else config, RecommenderConfig, "config")
        self._state: Fitted | None = None
        self._changing = Lock()

    def __repr__(self) -> str:
        if (state := self._state) is None:
            return "Recommender(not fitted)"
        return f"Recommender({len(state.model.catalog):,} items, {len(state.memory):,} users remembered)"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_changing"}

    def __setstate__(self, saved: dict[str, Any]) -> None:
        vars(self).update(saved, _changing=Lock())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings, as scikit-learn asks for them: `config`, and with `deep` each one in it (`history__depth`)."""
        return {"config": self.config, **(flat(self.config) if deep else {})}

    def set_params(self, **params: Any) -> Self:
        """Other settings for the next `fit`, by the names of `get_params`; what is fitted answers as before.

        Raises:
            ConfigError: There is no such setting, or it may not have this value.
        """
        config = of_kind(params.pop("config", self.config), RecommenderConfig, "config")
        self.config = changed(config, params)
        return self

    # -- learning -----------------------------------------------------------------------------------------------------

    def fit(
        self,
        catalog: Any,
        events: Any,
        *,
        options: TrainOptions | None = None,
        prompts: Prompts = None,
        users: Any = None,
    ) -> Self:
        """Learn from a catalog and the events of training users.

        Args:
            catalog: The items: a `Catalog`, a data frame, or a file.
            events: The log: `Interactions`, a data frame, a file, or a mapping. Events about unknown items are left out
                (counted in `events.known_items(catalog).report`).
            options: Seed, device, time budget, progress.
            prompts: What puts items into words: `auto` composes a prompt from the catalog's columns; a folder of
                prompts gives the one that was promoted there; or a prompt, its file, or its name. None: what the
                settings say. The model keeps the prompt it was fitted with.
            users: Profiles: `Users`, a data frame, or a file with `user_id` and further fields. Users without events
                may be among them: they are asked for by their id, and their profile speaks for them. See
                `RecommenderConfig.profiles` for which fields are read.

        Raises:
            PromptError: There is no such prompt, or it does not suit the catalog.
            DataError: No event is about an item of the catalog, or the catalog is empty.
        """
        options = of_kind(TrainOptions() if options is None else options, TrainOptions, "options")
        items = read_catalog(catalog)
        prompt = item_prompt(prompts, items, self.config.text)
        people = None if users is None else read_profiles(users)
        state = fit(self.config, items, read_events(events), options, prompt, people)
        with self._changing:
            self._state = state
        return self

    @classmethod
    def from_catalog(
        cls,
        catalog: Any,
        adapter: str | None = None,
        *,
        config: RecommenderConfig | None = None,
        options: TrainOptions | None = None,
        prompts: Prompts = None,
    ) -> "Recommender":
        """A recommender for a catalog without any events: whitened text similarity to what a user likes.

        Args:
            catalog: The items: a `Catalog`, a data frame, or a file.
            adapter: The shop prior that makes the ranking head, by name or folder; None: that of `config`.
            config: Hyper-parameters; users' adaptation needs events to be meta-trained and is off.
            options: Device and progress; texts are read to the end, and the report says where that passes the budget.
            prompts: As for `fit`.
        """
        recommender = cls(config)
        if adapter is not None:
            prior = of_kind(adapter, str, "adapter")
            recommender.config = replace(recommender.config, prior=prior)
        items = read_catalog(catalog)
        prompt = item_prompt(prompts, items, recommender.config.text)
        recommender._state = of_catalog(recommender.config, items, options, prompt)
        return recommender

    # -- using --------------------------------------------------------------------------------------------------------

    def score(
        self,
        users: Users,
        item_ids: Items,
        *,
        adapt: bool = True,
        adapters: Adapters | None = None,
        profiles: Any = None,
    ) -> np.ndarray:
        """The ranking head's scores, float32 [users, items]; wishes are no part of them.

        Args:
            users: Whom to score for; events given here replace what was fitted.
            item_ids: The same items for all users, or each user's own. Rows of unequal length are filled with NaN.
            adapt: Whether users get their own adapter.
            adapters: Ready-made ones, from `adapt`.
            profiles: Of users, for this question only; see `update_users`.

        Returns:
            Scores in the order asked for; NaN for an item that the catalog does not have.
        """
        state = showing(self._fitted(), profiles)
        kept = kept_for(adapters, state.fingerprint)
        items = read_items(item_ids, "item_ids", ordered=True)
        histories, notes = histories_of(state, users, kept, ordered=True)
        tell(notes)
        return scores_of(state, histories, items, truth(adapt, "adapt"), kept)

    def predict_ratings(self, users: Users, item_ids: Items, *, adapt: bool = True) -> np.ndarray:
        """What users would rate items, on the scale of the ratings that were learned from, float32 [users, items].

        Args:
            users: Whose ratings; events given here replace what was fitted. Without a rated event: what users like them
                give.
            item_ids: The same items for all users, or each user's own. Rows of unequal length are filled with NaN.
            adapt: Whether users have numbers of their own; without, only how generous they are is known of them.

        Returns:
            Ratings in the order asked for, within the scale; NaN for an item that the catalog does not have.

        Raises:
            ConfigError: Ratings were not learned; fit with `objective="rating"`.
            DataError: Ratings given here are on another scale.
        """
        state = self._fitted()
        items = read_items(item_ids, "item_ids", ordered=True)
        return predicted_ratings(state, state.events_of(users, ordered=True), items, truth(adapt, "adapt"))

    def recommend(
        self,
        users: Users,
        n: int = 10,
        *,
        adapt: bool = True,
        adapters: Adapters | None = None,
        explain: bool = False,
        candidates: Items = None,
        exclude_seen: bool = True,
        filters: Mapping[str, Any] | None = None,
        diversity: float = 0.0,
        without: Any = None,
        wishes: Sequence[Wish | str] | Wish | str | None = None,
        exclude: Items = None,
        by: By = "history",
        profiles: Any = None,
        **rules: Unpack[RuleOptions],
    ) -> Recommendations:
        """Ranked lists, one per user, in the order of `users`.

        Args:
            users: Whom to recommend to; events given here replace what was fitted. Users without events get what is
                popular, or what people with a profile like theirs took.
            n: Length of the lists; shorter where fewer items are eligible.
            adapt: Whether users get their own adapter; without, the meta-learned start is used.
            adapters: Ready-made adapters, from `adapt`.
            explain: Add a reason, its code and its evidence to every line.
            candidates: Only these items (all users alike, or each user's own).
            exclude_seen: Leave out what the user already has.
            filters: Only items with these column values, such as `{"categories": "Comedy", "price": (None, 20)}`: a
                value, a list of accepted ones, or for numbers and dates a range; see `matching_items`.
            diversity: 0 for the best scores, up to 1 for the greatest variety of texts and categories.
            without: What is left out of the histories, as if it had not happened: items, and values of the catalog's
                columns (every item that has one). What the user has stays out of the list all the same.
            wishes: "more of Garden", "less of Toys", "never of Candles": values of columns, or words of titles and
                texts. More and less move scores by a third of the way from the user's average item to the best one;
                never means none.
            exclude: None of these items (all users alike, or each user's own).
            by: What orders the list: "history" (all that is known of a user), "similarity" (texts like those of what
                they liked), or "rating".
            profiles: Of users, for this question only; see `update_users`.
            rules: What else holds for every list, and is never violated: `caps`, `pinned`, `boosted`, `groups`,
                `ceilings`, `diversity_by` and `calibrated`; see `recllm.ranking.asked.Rules`.

        Raises:
            ConfigError: `n` or `diversity` is out of range.
            DataError: A filter or a rule names a column that is not there or cannot match, or a wish means no item.
        """
        request = ListRequest(
            n, adapt, candidates, exclude_seen, filters, diversity, without, wishes, exclude, by, Rules.of(rules)
        )
        state = showing(self._fitted(), profiles)
        kept = kept_for(adapters, state.fingerprint)
        seen, notes = histories_of(state, users, kept)
        lists = Lists.of(state, request, seen, kept)
        notes += lists.notes
        reasons = {}
        if truth(explain, "explain"):
            steps = None if kept is None else kept.steps_of(seen.user_ids)
            explainer = Explainer(domain=state.config.domain)
            reasons = Reasons.by(state).of(lists.served, seen, lists.rows, explainer, lists=lists, steps=steps)
        tell(notes)
        columns = lists.columns(state.model.catalog)
        return Recommendations(**columns, **reasons, user_ids=seen.user_ids, notes=notes)

    def preview(
        self,
        users: Users,
        wishes: Sequence[Wish | str] | Wish | str,
        n: int = 10,
        *,
        adapt: bool = True,
        adapters: Adapters | None = None,
    ) -> Preview:
        """What wishes would change: every item of the list with and without them, and its two places."""
        state = self._fitted()
        kept = kept_for(adapters, state.fingerprint)
        requests = [ListRequest(n, adapt, wishes=said) for said in (None, wishes)]
        histories, notes = histories_of(state, users, kept)
        tell(notes)
        before, after = (Lists.of(state, request, histories, kept).rows for request in requests)
        catalog = state.model.catalog
        return Preview.of(catalog.item_ids, catalog.titles, histories.user_ids, before, after)

    def adapt(self, users: Users, steps: int | None = None) -> Adapters:
        """Each user's own adapter, to be kept, updated and passed to `recommend` and `score`.

        Args:
            users: Whom to adapt to.
            steps: Gradient steps; None takes the configured number.

        Raises:
            ConfigError: The model has no adaptation.
        """
        state = self._fitted()
        make = self._adapting(state, steps)
        events = state.events_of(users)
        return Adapters(events, state.adapt(events, steps), state.fingerprint, make, steps)

    def adapt_function(self, steps: int | None = None) -> Callable[[Interactions], dict[str, Tensor]]:
        """From events to matrices with a user axis; what `Adapters` calls on new events.

        It raises AdapterMismatch once this recommender has been fitted again.
        """
        return self._adapting(self._fitted(), steps)

    def _adapting(self, state: Fitted, steps: int | None) -> Callable[[Interactions], dict[str, Tensor]]:
        if steps is not None:
            steps = whole_number(steps, "steps, the number of gradient steps,", 0)
        if state.model.learner is None:
            raise ConfigError("this recommender has no adaptation (adaptation=None, or no events); fit one that has.")
        base = state.fingerprint

        def make(events: Interactions) -> dict[str, Tensor]:
            now = self._fitted()  # items may have been added since
            if now.fingerprint != base:
                raise AdapterMismatch("the recommender was fitted again since these adapters were made; adapt anew.")
            return now.adapt(events, steps)

        return make

    def explain(
        self,
        users: Users,
        item_ids: Items = None,
        generator: Generator | str | None = None,
        *,
        adapt: bool = True,
        n: int | None = None,
        without: Any = None,
        wishes: Sequence[Wish | str] | Wish | str | None = None,
        level: Level | None = None,
        audience: Audience = "customer",
        filters: Mapping[str, Any] | None = None,
        by: By = "history",
        **rules: Unpack[RuleOptions],
    ) -> Explanations:
        """Why these items suit these users, or that nothing in their history says so.

        Args:
            users: As in `recommend`; or recommendations to users who are remembered, whose lines are explained.
            item_ids: The same items for all users, or each user's own; or recommendations to `users`.
            generator: A language model that chooses or writes words, or its name for `open_generator`. Whatever it
                writes is checked against the evidence; what does not pass is replaced by a template.
            adapt: As in `recommend`.
            n: Length of the list that the explanation speaks of: "without X you would have seen Y". By default 10, or
                the length of the lists in `item_ids`.
            without: As in `recommend`.
            wishes: As in `recommend`.
            level: The rung of the ladder of words, L0 to L3; by default L0, with a generator what it is good for.
            audience: "owner": also say what in the history speaks against an item, which customers are not told.
            filters: As in `recommend`.
            by: As in `recommend`.
            rules: As in `recommend`; the list that is spoken of keeps them.

        Raises:
            DataError: An item that the catalog does not have.
        """
        state = self._fitted()
        if isinstance(users, Recommendations):
            users, item_ids = _remembered(users, state), users if item_ids is None else item_ids
        if isinstance(item_ids, Recommendations):
            n = n or max((row.rank for row in item_ids), default=10)
        items = read_items(item_ids, "item_ids")
        request = ListRequest(
            10 if n is None else n,
            adapt,
            filters=filters,
            without=without,
            wishes=wishes,
            by=by,
            rules=Rules.of(rules),
        )
        writer, domain = _generator(generator), state.config.domain
        explainer = Explainer(writer, domain=domain, level=level, detail="full", audience=audience)
        histories, notes = histories_of(state, users)
        tell(notes)
        return explanations(state, histories, items, request, explainer)

    def explain_ranking(self, known: Sequence[int] = (0, 1, 5, 20), n: int = 10, users: int = 100) -> Overall:
        """What the ranking weighs, as a whole and in words; measured by silencing one channel after the other.

        Args:
            known: How many of a user's newest events the ranking is told.
            n: Length of the lists.
            users: How many of the remembered users are asked; those with the most events come first.

        Raises:
            DataError: No user is remembered.
        """
        known = [
            whole_number(one, "known, the number of a user's newest events,", 0) for one in elements(known, "known")
        ]
        users = whole_number(users, "users, the number of users asked,", 1)
        return weighed(self._fitted(), known, whole_number(n, "n, the length of the lists,", 1), users)

    def verify_explanation(self, explanation: Mapping[str, Any] | Explanation | Recommendation) -> Verification:
        """Compute an explanation again from its proof, and compare: model, evidence and words.

        Args:
            explanation: A row of explanations, or of recommendations with reasons; also as a dictionary, or as read
                from `to_json`.

        Raises:
            DataError: It is no such line.
        """
        state = self._fitted()
        if isinstance(explanation, Explanation | Recommendation):
            explanation = asdict(explanation)
        return check_explanation(explanation, Reasons.by(state), state.config.domain)

    def similar_items(
        self, item_ids: Any, n: int = 10, *, by: Likeness = "text", basket: bool = False, users: Users = None
    ) -> Recommendations:
        """Items that read alike, or that the same people take; a list for each item, whose id `user_id` holds.

        Args:
            item_ids: Whatever the lists shall be like; with `users`, also each user's own.
            n: Length of the lists.
            by: "text" (the score is a cosine) or "together": taken by the same people, of those who took either item
                (0 to 1; pairs of few people count less).
            basket: Whether the items are one basket, which gets one list of what goes with all of it; together by the
                weights of the ranking's channel, which count what its items have in common once.
            users: Who looks at these items: each gets one list, of what is most alike that which ranks best for them
                and what they do not have yet; scores are those of `score`.

        Raises:
            ConfigError: `by` is neither.
            DataError: An item is not in the catalog, or nothing was taken yet.
        """
        state = self._fitted()
        if users is None:
            found = similar_items(state, item_ids, n, by, truth(basket, "basket"))
        else:
            found = similar_for(state, users, item_ids, n, by)
        tell(found.notes)
        return found

    def path(
        self, users: Users, goal: Any = None, n: int = 5, *, prerequisites: Any = None, adapt: bool = True
    ) -> Recommendations:
        """What to take in which order, a path for each user: never something before what it needs.

        Args:
            users: Whose paths; what they have, they need no more.
            goal: An item, or several: the path has all that it needs and ends there. None: the path leads to the best
                of what can be reached in so many steps.
            n: Steps at most; of a longer way to the goal these are the first.
            prerequisites: What needs what: a mapping {course: [what it needs]}, or a column of ids (lists, or texts
                with |, ; or a comma between). None: the column "prerequisites", and without one "learned": what almost
                everybody who took a course had taken before it, by the order of events.
            adapt: As in `recommend`.

        Returns:
            Steps in order, with the scores of `score`; `reason_code` is "goal", "needed", "usually before" (learned),
            or "ready", and `explanation` and `evidence` say for what.

        Raises:
            DataError: The prerequisites go in a circle, which is named; or the goal is not in the catalog.
        """
        found = paths(self._fitted(), users, goal, n, prerequisites, truth(adapt, "adapt"))
        tell(found.notes)
        return found

    def search(self, text: str, n: int = 10) -> Recommendations:
        """Items whose text is closest to a few words; the score is a cosine.

        Items that have neither a title nor a text of their own are not found, unless the catalog has no others.
        """
        return search(self._fitted(), text, n)

    # -- keeping ------------------------------------------------------------------------------------------------------

    def add_items(self, catalog: Any) -> Self:
        """Take in new items by their text, at once and without training; known ids are left as they are.

        Args:
            catalog: The new items: a `Catalog`, a data frame, or a file.
        """
        items = read_catalog(catalog)
        with self._changing:
            self._state, notes = self._fitted().with_items(items)
        tell(notes)
        return self

    def update(self, events: Any, *, adapt: Literal["shop"] | None = None) -> Self:
        """Take in new events of known and further users: they count at once.

        Histories, popularity and its course in time are those of all events when the call returns. Weights between
        items are fitted anew, in the call, when a fiftieth of all events is new since they were (a tenth in catalogs of
        over 6,000 items, where that takes from seconds to minutes). Events that are known are passed over; those
        without times count as later than everything else of their user. All of a call is taken in, or nothing.

        Args:
            events: `Interactions`, a data frame, `{user: [item ids]}`, or a file. Events about unknown items are left
                out, with a warning.
            adapt: "shop" also lets the shop's own adapter learn how to weigh the channels, from what would have been
                served before these events: a day or a week of them at a time. It is used once it has shown a gain on
                events that it had not learned, see `adapters`. None: nothing is trained.

        Raises:
            ConfigError: `adapt` is neither.
            DataError: Ratings are on another scale than those that were learned from (`objective="rating"`).
        """
        if adapt is not None and not (isinstance(adapt, str) and adapt == "shop"):
            raise ConfigError(f'adapt is "shop" or None; got {adapt!r}.')
        fresh = read_events(events)
        with self._changing:
            state = self._fitted()
            self._state, notes = state.updated(state.model.on_scale(fresh), drifts=adapt == "shop")
        tell(notes)
        return self

    def update_users(self, users: Any) -> Self:
        """Take in profiles of further users, or what has changed of known ones; fields are read as at the fit.

        Args:
            users: `Users`, a data frame, or a file.

        Raises:
            ConfigError: The recommender was fitted without profiles, or keeps nothing of users.
        """
        fresh = read_profiles(users)
        with self._changing:
            state = self._fitted()
            self._state = with_profiles(state, fresh)
        return self

    def forget(self, user_ids: Any) -> Self:
        """Delete these users' events, and take them out of everything that is counted.

        What is popular, what goes together and what follows what are then those of a shop that never saw them, to the
        last bit; weights between items are computed anew at the next question. The transformer, the ranking's weights
        and the adapters' start were learned together with others and keep their part: fit again to renew them.

        Args:
            user_ids: One id or several. Without histories (`keep_histories=False`), users with all of their events, as
                `update` takes them: nobody knows otherwise what to take out. What was counted by the values of their
                profiles stays then, as nobody knows these.

        Raises:
            DataError: None of them is remembered, and nothing was deleted. If only some are not, a warning says which.
        """
        with self._changing:
            state = self._fitted()
            if state.config.keep_histories:
                gone = known_among(read_user_ids(user_ids), Remembered(state), "is remembered")
                self._state = without_profiles(state.without([user for user in gone if user in state.memory]), gone)
            else:
                self._state = state.without_events(_brought(user_ids, state))
        return self

    @property
    def adapters(self) -> ShopAdapters:
        """The shop's own adapter, which `update(events, adapt="shop")` moves: its version, `rollback()`, `export()`."""
        state = self._fitted()
        return ShopAdapters(state.drift, state.fingerprint, self._change_drift, state.model.own)

    def _change_drift(self, change: Callable[[Drift], Drift]) -> Drift:
        with self._changing:
            state = self._fitted()
            drift = change(state.drift)
            self._state = state.with_drift(drift)
        return drift

    def freshness(self, now: float | None = None) -> Freshness:
        """How old what is served is: the newest event, how many came since the fit, how fast lists lose, refit or not.

        Args:
            now: Unix seconds; None: what the clock of this machine says.
        """
        return self._fitted().freshness(None if now is None else real_number(now, "now", 0.0, LATEST))

    def save(self, folder: str | Path) -> None:
        """Write the recommender to a folder: safetensors, JSON and a card. An older one there is replaced.

        Raises:
            ArtifactError: The folder holds something else, or the disk refuses.
        """
        state = self._fitted()
        save_recommender(read_path(folder, "the folder to save to"), state)

    @classmethod
    def load(cls, folder: str | Path, *, backbone: str | Path | None = None) -> "Recommender":
        """Read what `save` wrote.

        Args:
            folder: Where it was saved.
            backbone: Where the text encoder's backbone is now, if not where it was. It is needed for new texts only,
                and has to have the weights that the recommender was fitted with.

        Raises:
            ArtifactError: A file is missing, damaged or not what it should be.
        """
        stay_in_process()
        state = load_recommender(read_path(folder, "the folder of a saved recommender"))
        if backbone is not None:
            text = replace(state.config.text, backbone=str(backbone))
            state = replace(state, config=replace(state.config, text=text))
        recommender = cls(state.config)
        recommender._state = state
        return recommender

    def export_text_adapter(self, folder: str | Path) -> None:
        """Write what fine-tuning taught the text encoder: PEFT's two files and a card.

        `SentenceTransformer(backbone).load_adapter(folder)` gives this recommender's text vectors, before whitening.

        Raises:
            ConfigError: The text encoder is the frozen one.
        """
        state = self._fitted()
        if state.model.text_adapter is None:
            raise ConfigError(
                "this recommender's text encoder is the frozen one, so there is no adapter to write; fit with "
                'finetune="lora" (the report says when that did not pay).'
            )
        page = adapter_card(state.config, state.report, state.text_encoder)
        state.model.text_adapter.write(read_path(folder, "the folder to write to"), page)

    @property
    def prompts(self) -> Mapping[str, Prompt]:
        """What the model speaks with: `item`, which put the items into words and puts new ones, and `reason`."""
        state = self._fitted()
        return {"item": state.text_encoder.prompt, "reason": load_prompt(f"reason.{state.config.domain}")}

    @property
    def report(self) -> FitReport:
        """What fitting saw and measured; empty before it."""
        state = self._state
        return FitReport() if state is None else state.report

    @property
    def catalog(self) -> Catalog:
        """The items this recommender knows."""
        return self._fitted().model.catalog

    @property
    def user_ids(self) -> tuple[str, ...]:
        """Users whose events are remembered; they can be asked for by their id alone."""
        return self._fitted().memory.user_ids

    @property
    def model(self) -> Model:
        """The fitted parts, for who wants to look inside."""
        return self._fitted().model

    def with_model(self, model: Model, config: RecommenderConfig) -> "Recommender":
        """The same recommender with other parts, for experiments; nothing is trained."""
        other = Recommender(config)
        other._state = replace(self._fitted(), model=model, config=config)
        return other

    @property
    def fitted(self) -> Fitted:
        """What answers now, as one value that never changes; for what serves it."""
        return self._fitted()

    @classmethod
    def of(cls, fitted: Fitted) -> "Recommender":
        """A recommender that answers from this."""
        recommender = cls(fitted.config)
        recommender._state = fitted
        return recommender

    @property
    def counts(self) -> Counts:
        """What is counted of the users, sums that move with `update` and `forget`; `counts.digest()` is their proof."""
        return self._fitted().counted.counts

    @property
    def trained_on(self) -> TrainedOn:
        """Which users, and events up to when, shaped the weights; evaluation refuses them."""
        state = self._state
        return TrainedOn.of(Interactions.from_mapping({})) if state is None else state.trained

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what users' adapters depend on: encoder, item vectors, head and the meta-learned start."""
        return self._fitted().fingerprint

    # -- inside -------------------------------------------------------------------------------------------------------

    def _fitted(self) -> Fitted:
        """What answers now. A call asks once, and keeps to it."""
        stay_in_process()
        if (state := self._state) is None:
            raise NotFittedError("this recommender has not been fitted; call fit(catalog, events) or load a saved one.")
        return state


def _remembered(recs: Recommendations, state: Fitted) -> list[str]:
    """The users of recommendations, all of whom are remembered."""
    strangers = [user for user in recs.user_ids if user not in state.memory]
    if strangers:
        raise DataError(
            f"recommendations hold no histories, and user {strangers[0]!r} is not remembered; write "
            "explain(users, recommendations) with the users that they were made for."
        )
    return list(recs.user_ids)


def _brought(users: Any, state: Fitted) -> Interactions:
    """The events of users who shall be forgotten where nobody's are remembered."""
    events = None if isinstance(users, str) else read_users(users)
    if not isinstance(events, Interactions):
        raise DataError(
            "this recommender keeps no user's events (keep_histories=False), so it does not know what to take out; "
            "write forget({user: their events}) with all that it was told of them."
        )
    return events.known_items(state.model.catalog)


def _generator(given: Any) -> Generator | None:
    generator = open_generator(given) if isinstance(given, str) else given
    if generator is not None and not callable(getattr(generator, "generate", None)):
        raise ConfigError(f"generator is a language model or its name, such as 'smollm2'; got {given!r}.")
    return generator
