"""The channels, one file each, in the order in which the ranking head reads them. A new one is one line here."""

from recllm.errors import ConfigError
from recllm.retrieval.channel import Channel
from recllm.retrieval.channels.cooccurrence import LikedTogether, TakenTogether
from recllm.retrieval.channels.history import History
from recllm.retrieval.channels.next_liked import NextLiked
from recllm.retrieval.channels.popularity import Popular, PopularNow, PopularWhenLastSeen
from recllm.retrieval.channels.profile import SameProfile
from recllm.retrieval.channels.senses import Senses
from recllm.retrieval.channels.text import Text
from recllm.retrieval.channels.text_cooccurrence import TextCooccurrence

__all__ = ["CHANNELS", "register"]

CHANNELS: dict[str, type[Channel]] = {
    channel.name: channel
    for channel in (
        History,
        Text,
        TextCooccurrence,
        Senses,
        TakenTogether,
        LikedTogether,
        NextLiked,
        SameProfile,
        Popular,
        PopularWhenLastSeen,
        PopularNow,
    )
}


def register(channel: type[Channel]) -> type[Channel]:
    """Add a channel to those that are fitted and loaded from now on; also as a decorator.

    Raises:
        ConfigError: Another channel has its name.
    """
    if CHANNELS.setdefault(channel.name, channel) is not channel:
        raise ConfigError(f"a channel named {channel.name!r} is there already; give the new one a name of its own.")
    return channel
