"""Figures for Prometheus, in a registry of their own."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from recllm.serve.answers import Answer
from recllm.serve.stream.streaming import Streaming
from recllm.serve.web.engine import Engine

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """What is counted of one app."""

    def __init__(self, live: Engine) -> None:
        self.registry = CollectorRegistry()
        self.newest = 0.0
        self._requests = Counter(
            "recllm_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "recllm_http_seconds",
            "Seconds until the answer was out.",
            ("route",),
            registry=self.registry,
            buckets=BUCKETS,
        )
        self._events = Counter("recllm_events", "Events acknowledged.", registry=self.registry)
        self._lists = Counter("recllm_lists", "Lists answered.", ("kind", "policy"), registry=self.registry)
        self.registry.register(_State(live, self))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, kind: str, answer: Answer) -> None:
        """Count a list; those that fell back have the policy `fallback`."""
        self._lists.labels(kind, answer.policy).inc()

    def events(self, count: int, newest: float) -> None:
        """Count acknowledged events."""
        self._events.inc(count)
        self.newest = max(self.newest, newest)

    def text(self) -> bytes:
        """For Prometheus."""
        return generate_latest(self.registry)


class _State(Collector):
    """What is read off the engine when somebody asks."""

    def __init__(self, live: Engine, metrics: Metrics) -> None:
        self._live, self._metrics = live, metrics

    def collect(self) -> Iterable[GaugeMetricFamily | InfoMetricFamily]:
        live, ready = self._live, self._live.ready()[0]
        yield InfoMetricFamily("recllm_model", "The model that answers.", value={"version": live.version})
        yield GaugeMetricFamily("recllm_ready", "1 where the server answers.", value=float(ready))
        yield GaugeMetricFamily("recllm_as_of_event", "Number of the newest event in answers.", value=live.as_of_event)
        waiting = getattr(live, "waiting", None)
        if isinstance(waiting, int):
            yield GaugeMetricFamily("recllm_queue_length", "Requests that wait for a list.", value=waiting)
        if self._metrics.newest:
            age = max(0.0, time.time() - self._metrics.newest)
            yield GaugeMetricFamily("recllm_newest_event_age_seconds", "Age of the newest event.", value=age)
        if (stream := getattr(live, "stream", None)) is not None:
            yield from _of_stream(stream)


def _of_stream(stream: Streaming) -> Iterable[GaugeMetricFamily]:
    figures = stream.figures
    for name, words, value in (
        ("events", "Events that were read from the stream.", figures.events),
        ("aside", "Messages of the stream that are no events, and are kept aside.", figures.aside),
        ("behind", "Messages of the stream that are there and not taken in yet.", stream.behind),
        ("reads", "1 where nothing is known to be in the stream's way.", not stream.trouble),
    ):
        yield GaugeMetricFamily(f"recllm_stream_{name}", words, value=float(value))
