"""How a server runs: where it listens and what it allows at most."""

from dataclasses import dataclass

from recllm.errors import ConfigError


@dataclass(frozen=True)
class Settings:
    """Run options of a server.

    Attributes:
        host: Where it listens.
        port: 0: any that is free.
        max_n: The longest list, page or answer.
        max_body: Bytes of the largest request.
        max_array: The most events, items or users in one request.
        max_batch: The most lists that are made at once.
        waiting: Requests that may wait for a list; more are refused with 503.
        patience: Seconds that a list may have to wait, by what lists have cost of late; then too, 503.
        rate: Requests a second that one key may make, with bursts of as many; None: as many as it likes.
        log_only: Answer with what is popular, and keep what the ranking would have said.
        explore: The share of answers in which neighbours in the list change places by chance, so that what a place does
            can be told from what an item does; their propensities are kept.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    max_n: int = 100
    max_body: int = 1_000_000
    max_array: int = 1_000
    max_batch: int = 16
    waiting: int = 128
    patience: float = 0.1
    rate: float | None = None
    log_only: bool = False
    explore: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_n", "max_body", "max_array", "max_batch", "waiting"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is a whole number of at least 1; got {getattr(self, name)!r}.")
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"port is between 0 and 65535; got {self.port!r}.")
        if not 0 <= self.explore <= 1:
            raise ConfigError(f"explore is a share between 0 and 1; got {self.explore!r}.")
        if self.rate is not None and not self.rate > 0:
            raise ConfigError(f"rate is a number of requests a second above 0; got {self.rate!r}.")
