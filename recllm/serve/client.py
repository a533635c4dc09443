"""A client of a server: lists, reasons and events in plain Python, with the errors of the library."""

import dataclasses
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, final
from urllib.parse import quote

from recllm.errors import (
    BusyError,
    ConflictError,
    DataError,
    RecllmError,
    ServeError,
    StorageError,
    UnknownError,
    require,
)
from recllm.serve.answers import Answer, Line, Page, Reason, Row, Shift, Taken
from recllm.serve.state.records import Event, fields_of

T = TypeVar("T")

_ERRORS: dict[str, type[RecllmError]] = {
    "unknown": UnknownError,
    "conflict": ConflictError,
    "invalid": DataError,
    "too_large": DataError,
    "busy": BusyError,
    "rate": BusyError,
    "storage": StorageError,
}
LONGEST_WAIT = 30.0
"""Seconds; a server that asks for more is left in peace, and the caller told."""


@final
class Client:
    """Speaks to one server. Safe to share between threads; close it, or use it in a `with`.

    Args:
        url: Of the server.
        key: An API key; None for a server on this machine that has none.
        timeout: Seconds until an answer has to be there.
        retries: How often a call is made again: when the server is busy, as it asks for; when the connection broke,
            only where a second call does no harm.
        transport: Of `httpx`, for tests.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8765",
        key: str | None = None,
        *,
        timeout: float = 10.0,
        retries: int = 3,
        transport: Any = None,
    ) -> None:
        self._httpx: Any = require("httpx", "serve")
        self._url, self._retries = url, retries
        self._sleep: Callable[[float], None] = time.sleep
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self._http = self._httpx.Client(base_url=url, headers=headers, timeout=timeout, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # -- lists --------------------------------------------------------------------------------------------------------

    def recommend(
        self,
        user_id: str,
        n: int = 10,
        *,
        offset: int = 0,
        category: Sequence[str] = (),
        exclude: Sequence[str] = (),
        explain: bool = False,
        diversity: float = 0.0,
        wishes: Sequence[str] = (),
        without: Sequence[str] = (),
        include_seen: bool = False,
        **rules: Any,
    ) -> Answer:
        """A user's list; see `recllm.serve.answers.Ask`.

        Args:
            user_id: The user.
            n: Length of the list.
            offset: How many of the best are passed over.
            category: Only items with one of these categories.
            exclude: Items to leave out.
            explain: Give reasons.
            diversity: 0 for the best scores, up to 1 for the greatest variety.
            wishes: "more of Garden", "never of Candles".
            without: What is left out of the history.
            include_seen: Also list what the user has.
            rules: `by`, `filters`, `candidates`, and the rules of `Recommender.recommend`, as JSON has them.
        """
        if rules:
            named = {"user_id": user_id, "n": n, "offset": offset, "explain": explain, "diversity": diversity}
            named |= {"category": [*category], "exclude": [*exclude], "wishes": [*wishes], "without": [*without]}
            body = named | {"include_seen": include_seen} | rules
            return _answer(self._call("POST", "/api/recommend", json=body))
        query = {"n": n, "offset": offset, "category": [*category], "exclude": [*exclude], "wish": [*wishes]}
        query |= {"without": [*without], "diversity": diversity}
        query |= {"explain": str(explain).lower(), "include_seen": str(include_seen).lower()}
        return _answer(self._call("GET", f"/api/recommend/{_part(user_id)}", params=query))

    def session(self, events: Iterable[Mapping[str, Any] | str], n: int = 10, **more: Any) -> Answer:
        """A list for somebody without a name.

        Args:
            events: What just happened: item ids, or mappings with item_id and timestamp, kind, rating where known.
            n: Length of the list.
            more: As in `recommend`.
        """
        said = [{"item_id": event} if isinstance(event, str) else dict(event) for event in events]
        return _answer(self._call("POST", "/api/session/recommend", json={"events": said, "n": n} | more))

    def rank(self, item_ids: Sequence[str], user_id: str | None = None, **more: Any) -> Answer:
        """The given items that the catalog has, best first; `more`: explain, wishes, without."""
        return _answer(self._call("POST", "/api/rank", json={"items": [*item_ids], "user_id": user_id} | more))

    def page(self, user_id: str | None = None, have: Sequence[str] = (), rows: int = 5, n: int = 10) -> Page:
        """Titled rows, no item twice."""
        body = {"user_id": user_id, "have": [*have], "rows": rows, "n": n}
        found = self._call("POST", "/api/page", json=body)
        made = [_made(Row, row | {"items": _lines(row["items"])}) for row in found["rows"]]
        return _made(Page, found | {"rows": tuple(made)})

    def whatif(
        self,
        user_id: str,
        *,
        add: Sequence[str] = (),
        drop: Sequence[str] = (),
        wishes: Sequence[str] = (),
        n: int = 10,
    ) -> list[Shift]:
        """What a user's list would be if the history were another."""
        body = {"user_id": user_id, "add": [*add], "drop": [*drop], "wishes": [*wishes], "n": n}
        return [_made(Shift, shift) for shift in self._call("POST", "/api/whatif", json=body)["items"]]

    def explain(self, recommendation_id: str, item_id: str) -> Reason:
        """Why an item was in an answered list."""
        return _made(Reason, self._call("GET", f"/api/explain/{_part(recommendation_id)}/{_part(item_id)}"))

    def neighbors(self, item_id: str, n: int = 10) -> tuple[Line, ...]:
        """Items whose text is alike."""
        return _lines(self._call("GET", f"/api/item/{_part(item_id)}/neighbors", params={"n": n})["items"])

    def search(self, text: str, n: int = 10) -> tuple[Line, ...]:
        """Items whose text is closest to a few words."""
        return _lines(self._call("GET", "/api/search", params={"q": text, "n": n})["items"])

    # -- what is kept -------------------------------------------------------------------------------------------------

    def feedback(self, events: Iterable[Mapping[str, Any] | Event], *, replace: bool = False) -> Taken:
        """Send events; they are durable, and in the next answer, when this returns.

        Args:
            events: With user_id and item_id, and timestamp, kind, rating, weight, recommendation_id, event_id where
                known. Those without an event_id get one, so that a call that is made again counts once.
            replace: Let events that are there already under their ids take the new content.
        """
        sent = [fields_of(event) if isinstance(event, Event) else dict(event) for event in events]
        for event in sent:
            if event.get("event_id") is None and event.get("timestamp") is None and "action_name" not in event:
                event |= {"event_id": uuid.uuid4().hex, "timestamp": time.time()}
        return _made(Taken, self._call("PUT" if replace else "POST", "/api/feedback", json=sent, twice=True))

    def put_items(self, items: Iterable[Mapping[str, Any]]) -> dict[str, int]:
        """Send items, each with an item_id and columns; they can be recommended at once."""
        return dict(self._call("PUT", "/api/items", json=[dict(item) for item in items]))

    def put_users(self, users: Iterable[Mapping[str, Any]]) -> None:
        """Send profiles, each with a user_id, columns, and `exclude`: what is never to be listed."""
        self._call("PUT", "/api/users", json=[dict(user) for user in users])

    def item(self, item_id: str) -> dict[str, Any]:
        """An item's columns."""
        return dict(self._call("GET", f"/api/item/{_part(item_id)}"))

    def user(self, user_id: str) -> dict[str, Any]:
        """All that is kept of a user."""
        return dict(self._call("GET", f"/api/user/{_part(user_id)}"))

    def erase(self, user_id: str) -> dict[str, Any]:
        """Erase all that is kept of a user."""
        return dict(self._call("DELETE", f"/api/user/{_part(user_id)}"))

    def refit(self) -> dict[str, Any]:
        """Let the server learn a new model, in the background."""
        return dict(self._call("POST", "/api/refit", twice=False))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _call(self, method: str, path: str, *, twice: bool = True, **sent: Any) -> Any:
        """One call, made again where that may help.

        Args:
            method: Of HTTP.
            path: Already encoded.
            twice: Whether a second call does no harm when the first one's answer was lost.
            sent: For `httpx`.

        Raises:
            RecllmError: What the server said; `ServeError` if there is none.
        """
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                response = self._http.request(method, path, **sent)
            except self._httpx.TransportError as error:
                reached = not isinstance(error, self._httpx.ConnectError | self._httpx.ConnectTimeout)
                if last or (reached and not twice):
                    raise ServeError(
                        f"no answer from {self._url} ({type(error).__name__}); is `recllm serve` running there?"
                    ) from error
                self._sleep(_pause(attempt))
                continue
            if response.is_success:
                return response.json()
            wait = _wait(response.headers.get("retry-after"), attempt)
            if response.status_code not in (429, 503) or last or wait > LONGEST_WAIT:
                raise _error(response)
            self._sleep(wait)
        raise AssertionError("the last attempt returns or raises")


def _part(value: str) -> str:
    """An id as one segment of a path; dots alone would be taken for a folder."""
    return quote(value, safe="") if value.strip(".") else value.replace(".", "%2E")


def _pause(attempt: int) -> float:
    return 0.1 * 2.0**attempt * random.uniform(0.5, 1.5)


def _wait(said: str | None, attempt: int) -> float:
    return max(float(said), _pause(attempt)) if said is not None and said.isdigit() else _pause(attempt)


def _error(response: Any) -> RecllmError:
    try:
        error = response.json()["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return ServeError(f"the server answered {response.status_code}, and not in its own words; is it one of recllm?")
    return _ERRORS.get(code, ServeError)(message)


def _made(kind: type[T], found: Mapping[str, Any]) -> T:
    """One of our answers; what a newer server says beside is passed over."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in found.items() if name in names})


def _lines(found: Sequence[Mapping[str, Any]]) -> tuple[Line, ...]:
    return tuple(_made(Line, line) for line in found)


def _answer(found: Mapping[str, Any]) -> Answer:
    return _made(Answer, {**found, "items": _lines(found["items"]), "notes": tuple(found["notes"])})
