"""The page: everything is there, nothing is fetched, nothing runs, and names stay names."""

import html.parser
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recllm.errors
from recllm.errors import ArtifactError, MissingExtraError
from recllm.evaluation.findings import NOTHING
from recllm.evaluation.names import METRICS
from recllm.evaluation.page import meanings, plots
from recllm.evaluation.page.provenance import provenance
from recllm.evaluation.page.render import build_page
from recllm.evaluation.report import Report
from recllm.evaluation.statistics import Estimate
from recllm.retrieval.channels import CHANNELS
from tests.evaluation.example import ABOUT, make_example, measured

HOSTILE = '<script>alert("x")</script> $\\frac{1}$ & \u202ereversed\x07'


class Reader(html.parser.HTMLParser):
    """Checks that tags close in order, and keeps what a browser would see."""

    VOID = ("meta", "br", "link", "img", "hr", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page() -> str:
    return build_page(make_example(60))


def test_sections_come_in_order(page: str) -> None:
    assert re.findall(r"<h2>(.*?)</h2>", page) == [
        "Few-shot curves",
        "NDCG@10",
        "The square",
        "Accuracy against coverage",
        "All metrics",
        "Candidates by channel",
        "By activity",
        "By sparsity",
        "Known and new users and items",
        "Following users through time",
        "Latency",
        "Bytes per user",
        "How this was measured",
    ]
    anchors = re.findall(r'<section id="(\w+)">', page)
    assert re.findall(r'<a href="#(\w+)">', page) == anchors


def test_the_verdict_comes_first(page: str) -> None:
    first = page.index('class="verdict"')
    assert first < page.index("<svg")
    verdict = page[first : page.index("</div>", first)]
    assert "D: meta-trained + steps beats the best other method by" in verdict
    assert "In the square, D beats A, B and C, all three, at K=" in verdict
    assert "60 users were asked." in verdict
    assert "At K=10 D: meta-trained + steps is behind in ms per user (29.5; popularity .020)." in verdict


def test_the_title_says_what_was_measured(page: str) -> None:
    assert "<h1>D: meta-trained + steps on ml-100k: NDCG@10 for users that no part of training has seen</h1>" in page
    assert "Ranked from the whole catalog, against popularity, item-kNN and EASE. In brackets" in page
    rng = np.random.default_rng(0)
    runs = [measured("EASE", 5, rng.uniform(0, 0.2, 30), protocol=protocol) for protocol in ("time", "odd")]
    page = build_page(Report(runs, {}))
    assert "<h1>Methods on ml-100k: NDCG@10 for users first seen after a moment in time and odd</h1>" in page
    assert "Ranked from the whole catalog. In brackets" in page


def test_what_is_named_is_explained(page: str) -> None:
    assert set(meanings.METRICS) == set(METRICS)
    assert {meanings.channel(f"channel: {name}") for name in CHANNELS} == {c.words for c in CHANNELS.values()}
    channels = read(page[page.index('<section id="channels">') : page.index('<section id="segments">')]).text
    assert CHANNELS["history"].words in channels
    assert "all channels, taking turns" in channels
    metrics = read(page[page.index('<section id="metrics">') : page.index('<section id="channels">')]).text
    assert meanings.METRICS["Gini@10"] in metrics
    assert meanings.METRICS["Accuracy"] not in metrics, "it was not measured"
    assert "Recall@200\n" not in metrics.partition("What the metrics mean")[0], "no method of the table has one"


def test_heights_are_figures() -> None:
    """An axis begins at 0, or has a line there; a scale that is not even says so."""
    above = [plots.Line("a", [0, 1], [Estimate(0.5, 0.4, 0.6, 9), Estimate(0.6, 0.5, 0.7, 9)], True, True)]
    below = [plots.Line("a", [0, 1], [Estimate(0.5, 0.4, 0.6, 9), Estimate(-0.1, -0.2, 0.0, 9)], True, True)]
    point = [plots.Line("a", [0.3], [Estimate(0.5, 0.4, 0.6, 9)], True)]
    words = {"title": "t", "x_label": "x", "y_label": "y"}
    assert lowest_tick(plots.curves(above, ticks=[(0, "nought")], **words)) == "0"
    assert lowest_tick(plots.scatter(point, **words)) == "0"
    assert lowest_tick(plots.curves(below, ticks=[(0, "nought")], **words)).startswith("−")
    assert "square-root scale" in build_page(make_example(20))


def lowest_tick(svg: str) -> str:
    """The label at the foot of the vertical axis."""
    places = re.findall(r'text-anchor: end[^>]* y="([\d.]+)"[^>]*>([^<]+)</text>', svg)
    return max((float(y), label) for y, label in places)[1]


def test_the_page_stands_alone(page: str) -> None:
    reader = read(page)
    tags = {tag for tag, _ in reader.tags}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "form", "base"})
    for tag, attributes in reader.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "xlink:href", "src"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    # Addresses only as names of XML's vocabularies.
    assert set(re.findall(r'(\S+)="https?://', page)) <= {"xmlns", "xmlns:xlink"}


def test_drawings_speak_and_share_no_names(page: str) -> None:
    reader = read(page)
    drawings = [attributes for tag, attributes in reader.tags if tag == "svg"]
    assert len(drawings) == 7
    assert all(drawing["role"] == "img" and drawing["aria-label"] for drawing in drawings)
    assert len({drawing["aria-label"] for drawing in drawings}) == len(drawings)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = [a["xlink:href"] for tag, a in reader.tags if tag == "use"]
    used += re.findall(r"url\((#[^)]*)\)", page)
    assert used
    assert {name.removeprefix("#") for name in used if name} <= set(ids)
    assert "events known of a user (K)" in reader.text  # text is text


def test_the_page_is_the_same_every_time(page: str) -> None:
    assert build_page(make_example(60)) == page


def test_channels_and_controls_have_tables_of_their_own(page: str) -> None:
    table = page[page.index('id="table"') : page.index('id="square"')]
    assert "channel" not in table
    assert "control" not in table
    assert "union" in page[page.index('id="channels"') : page.index('id="segments"')]
    assert "another user&#39;s adapter" in page[page.index('id="square"') : page.index('id="coverage"')]


def test_the_best_is_bold_and_what_is_as_good_is_marked() -> None:
    rng = np.random.default_rng(0)
    taste = rng.uniform(0, 0.2, 60)
    runs = [measured("EASE", 5, taste * 2, of_lists={"Gini@10": 0.9})]
    runs += [measured("iALS", 5, taste * 2 - 0.001 + rng.normal(0, 0.01, 60), of_lists={"Gini@10": 0.8})]
    runs += [measured("popularity", 5, taste, of_lists={"Gini@10": 0.99})]
    page = build_page(Report(runs, {}))
    table = page[page.index('id="table"') : page.index('id="metrics"')]
    rows = dict(re.findall(r'<th scope="row">(.*?)</th>\s*<td>(.*?)</td>', table))
    assert rows["EASE"].startswith("<b>")
    assert rows["iALS"].startswith("≈ ")
    assert rows["popularity"].startswith(".")
    assert "Gini@10 ↓" in page
    assert "<td><b>.800</b></td>" in page  # lower is better


def test_hostile_names_stay_names(tmp_path: Path) -> None:
    names = {"EASE": HOSTILE, "popularity": 'x" onload="alert(1)', "item-kNN": "漢字 ${x} {{ 7*7 }}"}
    report = make_example(60, title=HOSTILE, names=names)
    report.about["versions"] = {HOSTILE: HOSTILE}
    report.about["methods"] = {HOSTILE: [{HOSTILE: {HOSTILE: HOSTILE}}]}
    report.to_html(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    reader = read(page)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert not [a for _, a in reader.tags if "onload" in a]
    assert '<script>alert("x")</script> $\\frac{1}$ & reversed' in reader.text
    assert "{{ 7*7 }}" in reader.text
    assert "\u202e" not in page
    assert "\x07" not in page


def test_users_are_not_named(page: str) -> None:
    assert "someone-" not in page


def test_how_it_was_measured(page: str) -> None:
    how = read(page[page.index('<section id="how">') : page.index("</main>")]).text
    for text in (ABOUT["command"], "torch 2.13.0", "3f3f3f3f3f3f3f3f…", "no liked query 7", "l2 200", "NDCG@10 .081"):
        assert text in how
    users = [text for text in how.split("\n") if text]
    assert "users asked" in how
    assert users
    assert "recllm-split-1" not in how


def test_whatever_is_known_is_shown() -> None:
    assert list(provenance({})) == []
    assert list(provenance({"title": "x", "command": None, "versions": {}, "splits": []})) == []
    blocks = list(
        provenance({"seeds": [0, 1], "odd": [{}], "nested": {"a": {"b": {"c": 1.5}}}, "fits": {"x": ["a", "b"]}})
    )
    assert [name for name, _ in blocks[0].rows] == ["seeds", "fits"]
    assert blocks[0].rows[0][1][0].text == "0, 1"
    assert [block.title for block in blocks] == ["", "odd", "nested"]
    assert blocks[2].rows == [("a", [blocks[2].rows[0][1][0]])]
    assert blocks[2].rows[0][1][0].text == "c 1.50"
    (one,) = provenance({"splits": [{"protocol": "users", "training_users": 680, "format": "recllm-split-1"}]})
    assert [(name, cell.text) for name, (cell,) in one.rows[:2]] == [("protocol", "users"), ("training users", "680")]
    many = list(provenance({"splits": [{"fold": fold} for fold in range(30)]}))
    assert (many[0].summary, many[0].title) == ("splits", "")
    page = build_page(Report([], {"odd": [{}], "list": [[1, 2], []]}))
    assert "How this was measured" in page


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [measured("EASE", 5, np.zeros(0))],
        [measured("channel: text", 5, np.zeros(0), metric="Recall@200")],
    ],
    ids=["no method", "no user", "no user in a channel"],
)
def test_an_empty_report_says_so(runs: list[Any]) -> None:
    page = build_page(Report(runs, {}))
    read(page)
    assert NOTHING in page


@pytest.mark.parametrize(
    "protocol",
    ["users", "prequential", "users, 10 % of events", "cold: new user, new item", "time: known users, next basket"],
)
def test_one_protocol_alone_makes_a_page(protocol: str) -> None:
    rng = np.random.default_rng(0)
    runs = [measured("EASE", k, rng.uniform(0, 0.2, 30), protocol=protocol) for k in (1, 5)]
    page = build_page(Report(runs, {}))
    read(page)
    assert "EASE has the best NDCG@10 at K=5" in page
    assert "Few-shot curves" in page
    assert ("The query is the same" in page) != (protocol == "prequential")


def test_several_protocols_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    runs = [
        measured(name, k, rng.uniform(0, 0.2, 30), protocol=protocol, of_lists={"Coverage@10": 0.1, "ms per user": 1.0})
        for name in ("EASE", "recllm")
        for protocol in ("users", "early")
        for k in (0, 10)
    ]
    page = build_page(Report(runs, {}))
    reader = read(page)
    assert page.count('class="verdict"') == 2
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.count("<h3>early</h3>") >= 4


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(recllm.errors.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'recllm\[plots\]'"):
        make_example(20).to_html(tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot write .*choose another place"):
        Report([], {}).to_html(tmp_path)


def test_labels_never_touch() -> None:
    heights = plots._spread([0.5, 0.5, 0.51, 0.9, float("nan"), 0.0], 0.06)
    known = sorted(height for height in heights if height == height)
    assert np.isnan(heights[4])
    assert min(np.diff(known)) >= 0.06 - 1e-9
    assert heights[3] == pytest.approx(0.9)
    assert heights[0] < heights[2]
    assert plots._spread([], 0.06) == []
    crowd = plots._spread([0.0] * 5, 0.06)
    assert min(crowd) >= 0


def test_a_line_may_have_gaps() -> None:
    gap = Estimate(float("nan"), float("nan"), float("nan"), 0)
    line = plots.Line("a", [0, 1], [Estimate(0.1, 0.05, 0.15, 9), gap], True, True)
    svg = plots.curves([line], title="t", x_label="x", y_label="y", ticks=[(0, "0"), (1, "1")])
    assert svg.startswith('<svg role="img" aria-label="t"')
    assert "NaN" not in svg
    assert plots.legend([line]) == [("●", plots.COLOURS[0], "a")]
