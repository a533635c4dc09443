"""Events of a stream are in the next answer, and what is none can be seen."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from recllm.cli import app
from recllm.errors import ConfigError
from recllm.serve.live.live import Live
from recllm.serve.web.app import create_app
from tests.serve.live.test_live import ids
from tests.serve.stream.cluster import running
from tests.serve.web.asking import HERE


def test_events_of_a_stream_are_in_the_next_answer(opened: Callable[..., Live], tmp_path: Path) -> None:
    with running() as cluster:
        live = opened(stream=cluster.address("shop"))
        http = TestClient(create_app(live), base_url=HERE)
        assert http.post("/api/feedback", json=[{"user_id": "mia", "item_id": "i1"}]).json()["as_of_event"] == 1
        assert "i2" in ids(live, "mia", n=48)
        cluster.send(
            "shop",
            {"user_id": "mia", "item_id": "i2"},
            b"poison",
            {"UserId": "mia", "ItemId": "i3", "FeedbackType": "buy"},
        )
        until = time.monotonic() + 20
        while live.as_of_event < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert not {"i1", "i2", "i3"} & set(ids(live, "mia", n=48))
        figures = http.get("/metrics").text
        for line in ("recllm_stream_events 2.0", "recllm_stream_aside 1.0", "recllm_stream_reads 1.0"):
            assert line in figures
        seen = CliRunner().invoke(app, ["stream", "--data", str(tmp_path / "data"), "--json"])
        told = json.loads(seen.output)
        assert told["streams"] == {"shop": {"offsets": {"0": 3}, "events": 2, "aside": 1}}
        assert [(one["source"], one["message"]) for one in told["aside"]] == [("shop[0]@1", "poison")]
        plain = CliRunner().invoke(app, ["stream", "--data", str(tmp_path / "data")]).output
        assert "shop: 2 events, 1 messages kept aside." in plain
        live.close()


def test_an_address_that_is_none_leaves_the_folder_free(opened: Callable[..., Live]) -> None:
    with pytest.raises(ConfigError, match="names no kind of stream"):
        opened(stream="amqp://a:1/x")
    with pytest.raises(ConfigError, match="cannot be read with these settings"):
        opened(stream="kafka://a:1/x?security.protocol=pigeon")
    opened()
