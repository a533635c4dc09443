"""Agents, with the protocol's own client over a real connection."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from recllm.errors import BusyError
from recllm.serve.web.app import create_app
from recllm.serve.web.keys import Keys, Role, new_key
from recllm.serve.web.mcp import tools_server
from tests.serve.fake import FakeLive
from tests.serve.served import served

T = TypeVar("T")


class Place:
    """A server and its keys."""

    def __init__(self, url: str, live: FakeLive, secrets: dict[Role, str]) -> None:
        self.url, self.live, self.secrets = url, live, secrets

    def ask(self, key: str, do: Callable[[Client], Awaitable[T]], mode: str = "auto") -> T:
        async def asking() -> T:
            async with httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}) as http:
                transport = streamable_http_client(f"{self.url}/mcp", http_client=http)
                async with Client(transport, mode=mode) as client:
                    return await do(client)

        return asyncio.run(asking())

    def call(self, role: Role, tool: str, **arguments: Any) -> Any:
        return self.ask(self.secrets[role], lambda client: client.call_tool(tool, arguments))


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    live, made = FakeLive(), {role: new_key(role.name, role) for role in Role}
    with served(create_app(live, Keys(key for _, key in made.values()))) as url:
        yield Place(url, live, {role: secret for role, (secret, _) in made.items()})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_agent_finds_the_tools(place: Place, mode: str) -> None:
    tools = place.ask(place.secrets[Role.READ], lambda client: client.list_tools(), mode).tools
    assert [tool.name for tool in tools] == ["recommend", "search", "similar", "explain", "send_feedback"]
    assert all(tool.description for tool in tools)


def test_an_agent_reads(place: Place) -> None:
    listed = place.call(Role.READ, "recommend", have=["lamp"], n=2).structured_content
    assert [row["item_id"] for row in listed["items"]] == ["candle", "cushion"]
    assert listed["items"][0]["reason"] == "Because you have Warm lamp."
    named = place.call(Role.READ, "recommend", user_id="mia", wishes=["more of Toys"], n=1).structured_content
    assert named["items"][0]["item_id"] == "bear"
    why = place.call(Role.READ, "explain", recommendation_id=named["recommendation_id"], item_id="bear")
    assert why.structured_content["explanation"]
    found = place.call(Role.READ, "search", words="lamp").structured_content
    assert [row["item_id"] for row in found["items"]] == ["lamp"]
    alike = place.call(Role.READ, "similar", item_id="bear").structured_content
    assert [row["item_id"] for row in alike["items"]] == ["blocks", "kite"]


def test_only_a_key_that_may_write_sends_events(place: Place) -> None:
    events = [{"user_id": "agent", "item_id": "lamp"}]
    refused = place.call(Role.READ, "send_feedback", events=events)
    assert refused.is_error
    assert "role write" in refused.content[0].text
    assert place.live.calls["feedback"] == 0
    assert place.call(Role.WRITE, "send_feedback", events=events).structured_content["accepted"] == 1
    assert place.live.events[-1].event.user_id == "agent"


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("similar", {"item_id": "nope"}, "no item 'nope'"),
        ("similar", {"item_id": "x" * 10_000}, "1000 characters"),
        ("recommend", {"user_id": "mia", "have": ["lamp"]}, "not both"),
        ("recommend", {"n": 10**6}, "less than or equal to 100"),
        ("recommend", {"wishes": ["fewer of Toys"]}, "pattern"),
        ("search", {}, "required"),
        ("no_such_tool", {}, "no_such_tool"),
    ],
)
def test_an_agent_is_told_what_is_wrong(place: Place, tool: str, arguments: dict[str, Any], words: str) -> None:
    try:
        answer = place.call(Role.READ, tool, **arguments)
    except* MCPError as group:
        text = str(group.exceptions)
    else:
        assert answer.is_error
        text = answer.content[0].text
    assert words in text
    assert len(text) < 1_000


def test_faults_are_sentences_and_tell_nothing_of_the_inside(place: Place) -> None:
    for fault, words in ((BusyError("too much at once."), "too much at once."), (KeyError("secret"), "search")):
        place.live.fault = fault
        answer = place.call(Role.READ, "search", words="x")
        assert answer.is_error
        assert words in answer.content[0].text
        assert "secret" not in answer.content[0].text
    place.live.fault = None


@pytest.mark.parametrize("key", ["", "wrong"])
def test_nobody_without_a_key_comes_in(place: Place, key: str) -> None:
    answer = httpx2.post(f"{place.url}/mcp", json={}, headers={"x-api-key": key})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert httpx2.get(f"{place.url}/mcp", headers={"x-api-key": place.secrets[Role.READ]}).status_code == 405


def test_the_tools_in_memory_may_read_and_leave_the_log_alone() -> None:
    handlers = list(logging.getLogger().handlers)

    async def asking() -> tuple[Any, Any]:
        async with Client(tools_server(FakeLive())) as client:
            events = [{"user_id": "a", "item_id": "b"}]
            return await client.call_tool("search", {"words": "lamp"}), await client.call_tool(
                "send_feedback", {"events": events}
            )

    read, written = asyncio.run(asking())
    assert read.structured_content["items"][0]["item_id"] == "lamp"
    assert written.is_error
    assert logging.getLogger().handlers == handlers
