"""`recllm serve` and what goes with it, as people type it."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recllm.recommender import Recommender
from recllm.serve.state.records import Event
from recllm.serve.state.sqlite.store import SqliteStore
from recllm.serve.supervisor import can_supervise
from recllm.testing import ToyShop
from tests.serve.conftest import postgres, shop  # noqa: F401
from tests.serve.stream.cluster import running
from tests.small import config_for

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "from recllm.cli import main; main()"]


@pytest.fixture(scope="module")
def model(tiny: Path, toy: ToyShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    Recommender(config_for(tiny)).fit(toy.catalog, toy.events).save(folder)
    return folder


def typed(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def served(model: Path) -> Iterator[Callable[..., tuple[str, "subprocess.Popen[str]"]]]:
    """Starts a server and gives its address."""
    running: list[subprocess.Popen[str]] = []

    def start(data: Path, *more: str) -> tuple[str, "subprocess.Popen[str]"]:
        command = [*COMMAND, "serve", str(model), "--data", str(data), "--port", "0", "--json", *more]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return str(next_greeting(running[-1])["address"]), running[-1]

    yield start
    for one in running:
        one.terminate()
        one.communicate(timeout=30)


def next_greeting(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    lines = ""
    while not lines.rstrip().endswith("}"):
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        lines += line
    return json.loads(lines)


def asked(url: str, body: Any = None, key: str | None = None, patience: float = 30) -> Any:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=patience) as answer:
        return json.load(answer)


@pytest.mark.skipif(not can_supervise(), reason="this system has no prctl")
def test_a_killed_server_is_back_with_all_that_it_acknowledged(
    served: Callable[..., tuple[str, "subprocess.Popen[str]"]], tmp_path: Path
) -> None:
    address, process = served(tmp_path / "data")
    assert asked(f"{address}/api/feedback", [{"user_id": "mia", "item_id": "i1", "event_id": "e1"}])["accepted"] == 1
    child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
    os.kill(child, signal.SIGKILL)
    begin = time.monotonic()
    answer = asked(f"{address}/api/recommend/mia?n=3&explain=true")
    assert time.monotonic() - begin < 10
    assert answer["as_of_event"] == 1
    assert "i1" not in [line["item_id"] for line in answer["items"]]
    assert all(line["reason"] for line in answer["items"])
    again = asked(f"{address}/api/feedback", [{"user_id": "mia", "item_id": "i1", "event_id": "e1"}])
    assert (again["accepted"], again["known"]) == (0, 1)
    with urllib.request.urlopen(f"{address}/", timeout=30) as page:
        assert "recllm" in page.read().decode()
    second = typed("serve", "--data", str(tmp_path / "data"), "--port", "0")
    assert second.returncode == 1
    assert "served" in second.stderr
    assert second.stderr.count("\n") == 1
    copied = typed("backup", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "copy.db"))
    assert copied.returncode == 0, copied.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    put_back = typed("restore", str(tmp_path / "copy.db"), "--data", str(tmp_path / "again"), "--json")
    assert json.loads(put_back.stdout) == {"data": str(tmp_path / "again")}
    address, _ = served(tmp_path / "again")
    assert asked(f"{address}/api/recommend/mia")["as_of_event"] == 1


def test_keys_are_asked_for_once_there_is_one(
    served: Callable[..., tuple[str, "subprocess.Popen[str]"]], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    public = typed("serve", str(tmp_path), "--data", str(data), "--host", "0.0.0.0", "--port", "0")
    assert public.returncode == 1
    assert public.stderr.count("\n") == 1
    key = typed("serve", "--data", str(data), "--new-key", "read").stdout.strip()
    wrong = typed("serve", "--data", str(data), "--new-key", "owner")
    assert wrong.returncode == 1
    assert "read, write or admin" in wrong.stderr
    address, _ = served(data)
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(f"{address}/api/recommend/u0")
    refused.value.close()
    assert refused.value.code == 401
    assert len(asked(f"{address}/api/recommend/u0?n=4", key=key)["items"]) == 4
    with pytest.raises(urllib.error.HTTPError) as forbidden:
        asked(f"{address}/api/feedback", [{"user_id": "mia", "item_id": "i1"}], key=key)
    forbidden.value.close()
    assert forbidden.value.code == 403


def test_a_folder_is_refitted_while_it_is_not_served(
    served: Callable[..., tuple[str, "subprocess.Popen[str]"]], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    address, process = served(data)
    asked(f"{address}/api/feedback", [{"user_id": "mia", "item_id": f"i{row}"} for row in range(3)])
    busy = typed("refit", "--data", str(data))
    assert busy.returncode == 1
    assert busy.stderr.count("\n") == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    fitted = typed("refit", "--data", str(data), "--json")
    assert fitted.returncode == 0, fitted.stderr
    assert json.loads(fitted.stdout)["as_of_event"] == 3
    address, _ = served(data)
    assert asked(f"{address}/api/recommend/mia?n=2")["version"] == json.loads(fitted.stdout)["version"]


def test_a_folder_without_a_model_says_what_to_write(tmp_path: Path) -> None:
    done = typed("serve", "--data", str(tmp_path / "data"), "--port", "0")
    assert done.returncode == 1
    assert "recllm serve MODEL" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(not can_supervise(), reason="this system has no prctl")
def test_a_shop_in_postgres_with_events_from_a_stream(
    served: Callable[..., tuple[str, "subprocess.Popen[str]"]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address = request.getfixturevalue("shop")
    first = SqliteStore.open(tmp_path / "file")
    first.write(lambda change: change.add_events([Event("e1", "mia", "i1", 1.7e9)])).result(10)
    first.backup(tmp_path / "copy.db")
    first.close()
    moved = typed("restore", str(tmp_path / "copy.db"), "--data", str(tmp_path / "data"), "--state", address, "--json")
    assert json.loads(moved.stdout)["events"] == 1, moved.stderr
    refused = typed("backup", "--state", address, "--out", str(tmp_path / "other.db"))
    assert "pg_dump" in refused.stderr
    monkeypatch.setenv("RECLLM_STATE", address)
    with running() as cluster:
        monkeypatch.setenv("RECLLM_STREAM", cluster.address("shop"))
        address, process = served(tmp_path / "data")
        cluster.send("shop", {"user_id": "mia", "item_id": "i2"}, b"poison")
        until = time.monotonic() + 30
        while (answer := asked(f"{address}/api/recommend/mia?n=48"))["as_of_event"] < 2 and time.monotonic() < until:
            time.sleep(0.1)
        assert not {"i1", "i2"} & {line["item_id"] for line in answer["items"]}
        child = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        os.kill(child, signal.SIGKILL)
        cluster.send("shop", {"user_id": "mia", "item_id": "i3"})
        while (answer := asked(f"{address}/api/recommend/mia?n=48"))["as_of_event"] < 3 and time.monotonic() < until:
            time.sleep(0.1)
        assert not {"i1", "i2", "i3"} & {line["item_id"] for line in answer["items"]}
        told = json.loads(typed("stream", "--json").stdout)
        assert told["streams"]["shop"] == {"offsets": {"0": 3}, "events": 2, "aside": 1}
