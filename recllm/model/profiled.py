"""Profiles that come, change and go after the fit; what is counted by their values moves with them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from recllm.data.doors import read_profiles
from recllm.data.histories import make_histories
from recllm.data.users import Users
from recllm.errors import ConfigError
from recllm.model.fitted import Fitted
from recllm.retrieval.people import People
from recllm.retrieval.scoring import Channels


def with_profiles(state: Fitted, users: Users) -> Fitted:
    """The same with further or changed profiles, under which what their users like is counted from now on.

    Raises:
        ConfigError: It was fitted without profiles, or keeps nothing of users.
    """
    if not state.config.keep_histories:
        raise ConfigError(
            "this recommender keeps nothing of users (keep_histories=False); write recommend(…, profiles=…)"
        )
    people, model = _of(state).updated(users), state.model
    ids = [user for user in users.frame["user_id"].to_list() if user in state.memory]
    known = make_histories(state.memory.of_users(ids), model.catalog, model.feedback, seed=state.seed)
    return _with(state, model.channels.moved(known, known, people))


def without_profiles(state: Fitted, user_ids: Sequence[str]) -> Fitted:
    """The same without the profiles of users whose events are counted no more."""
    people = state.model.channels.people
    if not people.fields:
        return state
    return _with(state, state.model.channels.changed(people=people.without(user_ids)))


def showing(state: Fitted, users: Any) -> Fitted:
    """The same for one question, which brings profiles along; nothing is learned from them.

    Args:
        state: What answers.
        users: Profiles as people write them; None: no further ones.

    Raises:
        ConfigError: It was fitted without profiles.
    """
    if users is None:
        return state
    return _with(state, state.model.channels.changed(people=_of(state).updated(read_profiles(users))))


@final
@dataclass(frozen=True)
class Remembered:
    """Everybody of whom something is remembered: events, or a profile."""

    state: Fitted

    def __contains__(self, user_id: object) -> bool:
        return user_id in self.state.memory or user_id in self.state.model.channels.people


def _of(state: Fitted) -> People:
    people = state.model.channels.people
    if not people.fields:
        raise ConfigError("this recommender was fitted without profiles; fit one with fit(…, users=profiles).")
    return people


def _with(state: Fitted, channels: Channels) -> Fitted:
    changed = replace(state, model=state.model.with_channels(channels))
    return state.keeping(changed, "fingerprint", "text_encoder")
