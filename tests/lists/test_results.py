"""What a user gets back: columns, rows, JSON and safe HTML."""

import csv
import io
import json
import math
import os
import stat
import threading
from pathlib import Path

import numpy as np
import polars
import pytest

from recllm.errors import ArtifactError, DataError
from recllm.lists.results import Explanation, Explanations, Preview, Recommendation, Recommendations

COLUMNS = ["user_id", "item_id", "rank", "score", "title", "explanation", "reason_code", "evidence"]
EVIDENCE = [{"causes": []}, {"causes": [{"item_id": "9"}]}, {"causes": []}]


def plain() -> Recommendations:
    return Recommendations(["b", "b", "a"], ["1", "2", "1"], [1, 2, 1], [0.5, 0.25, 2.0])


def explained() -> Recommendations:
    return Recommendations(
        ["b", "b", "a"],
        ["1", "2", "1"],
        [1, 2, 1],
        [0.5, 0.25, float("nan")],
        title=["One", "Two", "One"],
        explanation=["x", "y", "z"],
        reason_code=["history", "weak", "popular"],
        evidence=EVIDENCE,
        user_ids=["b", "none", "a"],
    )


def test_pandas_columns() -> None:
    frame = plain().to_pandas()
    assert list(frame.columns) == ["user_id", "item_id", "rank", "score"]
    assert frame["rank"].dtype == "int64"
    assert frame["score"].dtype == "float32"
    assert frame["user_id"].tolist() == ["b", "b", "a"]
    frame = explained().to_pandas()
    assert list(frame.columns) == COLUMNS
    assert frame["title"].tolist() == ["One", "Two", "One"]
    assert frame["evidence"].tolist() == EVIDENCE


def test_polars_columns() -> None:
    frame = explained().to_polars()
    assert frame.columns == COLUMNS
    assert frame["title"].to_list() == ["One", "Two", "One"]
    assert frame.schema["rank"] == polars.Int64
    assert frame.schema["score"] == polars.Float32
    assert [json.loads(text) for text in frame["evidence"]] == EVIDENCE
    assert plain().to_polars().columns == ["user_id", "item_id", "rank", "score"]


def test_rows() -> None:
    assert [*plain()][1] == Recommendation("b", "2", 2, 0.25)
    assert list(explained())[1] == Recommendation("b", "2", 2, 0.25, "Two", "y", "weak", EVIDENCE[1])
    assert len(explained()) == 3


def test_one_user() -> None:
    result = explained()
    assert result.user_ids == ("b", "none", "a")
    assert [row.item_id for row in result.for_user("b")] == ["1", "2"]
    assert isinstance(result.for_user("a"), Recommendations)
    assert result.for_user("a").user_ids == ("a",)
    assert len(result.for_user("none")) == 0
    assert list(result.for_user("none").to_pandas().columns) == list(result.to_pandas().columns)
    with pytest.raises(DataError, match="no user 'c'"):
        result.for_user("c")


def test_json() -> None:
    rows = json.loads(explained().to_json())
    assert rows[1] == {
        "user_id": "b",
        "item_id": "2",
        "rank": 2,
        "score": 0.25,
        "explanation": "y",
        "reason_code": "weak",
        "evidence": EVIDENCE[1],
        "title": "Two",
    }
    assert rows[2]["score"] is None
    assert json.loads(plain().to_json(indent=2))[0] == {"user_id": "b", "item_id": "1", "rank": 1, "score": 0.5}


@pytest.mark.parametrize("empty", [Recommendations([], [], [], []), Explanations([], [], [], [], [])])
def test_an_empty_result(empty: Recommendations | Explanations) -> None:
    assert (len(empty), list(empty), empty.to_json()) == (0, [], "[]")
    assert empty.to_pandas().empty
    assert empty.to_polars().is_empty()
    assert "0 rows, 0 users" in repr(empty)
    assert empty._repr_html_() == "<table></table>"


def test_wrong_columns_are_refused() -> None:
    with pytest.raises(DataError, match=r"different lengths.*'score': 2"):
        Recommendations(["a"], ["1"], [1], [0.5, 0.6])
    with pytest.raises(DataError, match=r"different lengths.*'title': 0"):
        Recommendations(["a"], ["1"], [1], [0.5], title=[])
    with pytest.raises(DataError, match="came with explanation only"):
        Recommendations(["a"], ["1"], [1], [0.5], explanation=["x"])


def test_html_is_inert() -> None:
    attack = "<script>alert('x')</script>\"&\u202e\x00"
    for result in (
        Recommendations(
            [attack], [attack], [1], [1.0], title=["<b>"], explanation=[attack], reason_code=["weak"], evidence=[{}]
        ),
        Explanations([attack], [attack], [attack], [attack], [{}], title=[attack + "!"]),
    ):
        shown = result._repr_html_()
        assert "<script" not in shown
        assert "<b>" not in shown
        assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;" in shown
        assert "\x00" not in shown
        assert "\u202e" not in shown
    assert "<i>" not in Recommendations([], [], [], [], user_ids=["<i>"])._repr_html_()


def test_the_text_is_readable() -> None:
    assert repr(explained()).splitlines() == [
        "Recommendations: 3 rows, 3 users",
        "user b",
        "  1  One [1]  0.500  x",
        "  2  Two [2]  0.250  y",
        "user none",
        "  (none)",
        "user a",
        "  1  One [1]  nan  z",
    ]
    many = Recommendations([str(u) for u in range(9)], ["1\n2"] * 9, [1] * 9, [1.0] * 9)
    assert repr(many).endswith("user 4\n  1  1 2  1.000\n… and 4 more users")
    assert "<p>… and 4 more users</p>" in many._repr_html_()
    long = Recommendations(["a"] * 70, ["1"] * 70, range(1, 71), [1.0] * 70)
    assert repr(long).endswith("… and 10 more rows of these users")


def test_explanations() -> None:
    result = Explanations(["b", "a"], ["1", "2"], ["x", "y"], ["history", "weak"], EVIDENCE[:2], title=["One", "2"])
    frame = result.to_pandas()
    labels = ["method", "verified", "fallback", "share", "prompt"]
    assert list(frame.columns) == ["user_id", "item_id", "title", "explanation", "reason_code", "evidence", *labels]
    assert next(iter(result)) == Explanation("b", "1", "x", "history", EVIDENCE[0], title="One")
    assert json.loads(result.to_json())[1]["explanation"] == "y"
    assert repr(result.for_user("a")) == "Explanations: 1 rows, 1 users\nuser a\n  2  y  weak"


def test_what_worded_it_and_the_proof_come_along() -> None:
    wording = {"method": "L3", "verified": True, "fallback": None, "share": 0.5, "prompt": "write.reason@1a2b"}
    evidence = [{**EVIDENCE[0], "wording": wording}]
    result = Explanations(["b"], ["1"], ["x"], ["history"], evidence, proof=[{"format": "p"}])
    (row,) = result
    assert (row.method, row.share, row.prompt, row.proof) == ("L3", 0.5, "write.reason@1a2b", {"format": "p"})
    assert json.loads(result.to_json())[0]["proof"] == {"format": "p"}
    assert "proof" not in result.to_pandas().columns
    assert result.to_polars()["verified"].to_list() == [True]
    assert next(iter(result.for_user("b"))).proof == {"format": "p"}


def test_a_preview_has_the_new_list_first() -> None:
    preview = Preview.of(["a", "b", "c"], ["A", "B", "C"], ["u"], [np.array([0, 1])], [np.array([2, 0])])
    assert [(row.item_id, row.rank_before, row.rank_after) for row in preview] == [
        ("c", None, 1),
        ("a", 1, 2),
        ("b", 2, None),
    ]
    assert repr(preview).split("\n")[2:] == ["  1  C [c]  comes in", "  2  A [a]  1 → 2", "  –  B [b]  leaves"]


def everything() -> list[Recommendations | Explanations | Preview]:
    return [
        plain(),
        explained(),
        Explanations(["b", "a"], ["1", "2"], ["x", "y"], ["history", "weak"], EVIDENCE[:2], title=["One", "2"]),
        Preview.of(["a", "b", "c"], ["A", "B", "C"], ["b"], [np.array([0, 1])], [np.array([2, 0])]),
    ]


# --- one user ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["3", 3, 3.0, np.int64(3), np.float32(3), np.str_("3")])
def test_a_user_is_asked_for_by_any_form_of_the_id(form) -> None:
    result = Recommendations(["3", "mia"], ["1", "2"], [1, 1], [0.5, 0.25], notes=["A note."])
    assert [row.item_id for row in result[form]] == ["1"]
    assert result[form].user_ids == result.for_user(form).user_ids == ("3",)
    assert result[form].notes == ("A note.",)
    assert form in result
    assert next(iter(result)) in result
    assert "nobody" not in result


@pytest.mark.parametrize("result", everything(), ids=lambda result: type(result).__name__)
@pytest.mark.parametrize("wrong", ["c", 0, None, float("nan"), slice(2), ["b"], ("b", 1), ""])
def test_who_was_not_asked_for_is_refused_in_a_sentence(result, wrong) -> None:
    with pytest.raises(DataError, match=r"^[^\n]+$"):
        result[wrong]


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", everything(), ids=lambda result: type(result).__name__)
@pytest.mark.parametrize("form", ["to_json", "to_csv", "to_html"])
def test_what_is_written_is_what_is_returned(result, form, tmp_path) -> None:
    text = getattr(result, form)()
    for path in (tmp_path / "new" / "folder" / "x", str(tmp_path / "y"), os.fsencode(tmp_path / "z")):
        assert getattr(result, form)(path) == text
        assert Path(os.fsdecode(path)).read_text(encoding="utf-8") == text
    assert sorted(os.listdir(tmp_path)) == ["new", "y", "z"], "and nothing beside it"


def test_csv_has_the_columns_of_the_frames() -> None:
    for result in everything():
        header, *rows = csv.reader(result.to_csv().splitlines())
        assert header == list(result.to_pandas().columns) == result.to_polars().columns
        assert [row[:2] for row in rows] == [[row.user_id, row.item_id] for row in result]
    assert plain().to_csv() == "user_id,item_id,rank,score\nb,1,1,0.5\nb,2,2,0.25\na,1,1,2.0\n"
    last = list(csv.DictReader(explained().to_csv().splitlines()))[-1]
    assert (last["score"], last["title"], json.loads(last["evidence"])) == ("", "One", EVIDENCE[2])
    assert Recommendations(["a"], ["1"], [1], [float(np.float32(0.3))]).to_csv().endswith("a,1,1,0.3\n")
    assert Recommendations([], [], [], []).to_csv() == "user_id,item_id,rank,score\n"


ATTACKS = [
    "=1+1",
    "+A1",
    "-A1",
    "@SUM(A1)",
    "\t=1",
    " =1",
    "\r=cmd|'/c calc'!A0",
    "\n@x",
    "＝1",
    '=HYPERLINK("x")',
    "=a,b",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("field", ["user_id", "item_id", "title", "explanation", "reason_code"])
def test_no_cell_of_a_csv_is_a_formula(attack, field) -> None:
    columns = {"user_id": "u", "item_id": "i", "title": "t", "explanation": "e", "reason_code": "r"} | {field: attack}
    result = Recommendations(rank=[1], score=[-0.5], evidence=[{}], **{k: [v] for k, v in columns.items()})
    text = result.to_csv()
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row[field] == "'" + attack
    assert row["score"] == "-0.5"
    assert not any(cell.strip()[:1] in ("=", "+", "@", "＝") for cell in row.values())
    assert json.loads(result.to_json())[0][field] == attack, "the exact text is in JSON"


def test_negative_numbers_are_no_formulas() -> None:
    assert "\n-5,+7,1,-1.0\n" in Recommendations(["-5"], ["+7"], [1], [-1.0]).to_csv()


def test_a_page_is_whole_and_inert() -> None:
    attack = "<script>alert('x')</script>\"&\u202e\x00 {title} %s"
    many = Recommendations(
        [attack] + [str(u) for u in range(99)], [attack] * 100, [1] * 100, [1.0] * 100, title=["<b>"] * 100,
        notes=["<i>note"],
    )  # fmt: skip
    page = many.to_html()
    assert page.startswith("<!doctype html>")
    assert page.count("<tr>") == 101, "all users, while a notebook shows a few"
    for part in ("<script", "<b>", "<i>", "\x00", "\u202e"):
        assert part not in page
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;" in page
    assert "{title} %s" in page
    assert "&lt;i&gt;note" in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert "nan" not in Recommendations(["a"], ["1"], [1], [math.nan], title=["t"]).to_html().split("<td>")[-3]


def test_half_a_character_stops_no_file(tmp_path) -> None:
    result = Recommendations(["a"], ["1"], [1], [1.0], title=["x\ud800"])
    for form in ("to_json", "to_html"):
        getattr(result, form)(tmp_path / form)
        assert (tmp_path / form).read_bytes().decode("utf-8")
    assert json.loads((tmp_path / "to_json").read_text(encoding="utf-8"))[0]["title"] == "x\ud800"


@pytest.mark.parametrize("form", ["to_json", "to_csv", "to_html"])
def test_a_place_that_cannot_be_written_is_one_sentence(form, tmp_path) -> None:
    (tmp_path / "file").write_text("mine")
    places = [tmp_path, tmp_path / "file" / "x.csv", tmp_path / ("n" * 300), "\x00", "/proc/nowhere/x.csv"]
    for place in places:
        with pytest.raises(ArtifactError, match=r"^cannot write [^\n]*; choose another place$"):
            getattr(plain(), form)(place)
    for place in ("", 2, True, b"", object()):
        with pytest.raises(DataError, match="a path to write to"):
            getattr(plain(), form)(place)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_a_write_that_fails_leaves_the_former_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "recs.csv"
    path.write_text("former")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left"):
        plain().to_csv(path)
    assert path.read_text() == "former"
    assert os.listdir(tmp_path) == ["recs.csv"]


def test_links_stay_and_pipes_are_no_files_to_replace(tmp_path) -> None:
    (tmp_path / "real.csv").write_text("former")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    plain().to_csv(tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text() == plain().to_csv()
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    plain().to_csv(tmp_path / "pipe")
    reader.join(10)
    assert read == [plain().to_csv()]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_notes_are_shown() -> None:
    result = Recommendations([], [], [], [], user_ids=["a"], notes=["No item has \n'x'."])
    assert repr(result).endswith("(none)\nNo item has 'x'.")
    assert "<p>No item has &#x27;x&#x27;.</p>" in result._repr_html_()
