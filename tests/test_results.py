"""What a user gets back: columns, rows, JSON and safe HTML."""

import json

import numpy as np
import polars
import pytest

from recllm.errors import DataError
from recllm.results import Explanation, Explanations, Preview, Recommendation, Recommendations

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
    assert list(frame.columns) == ["user_id", "item_id", "rank", "score", "explanation", "reason_code", "evidence"]
    assert frame["evidence"].tolist() == EVIDENCE


def test_polars_columns() -> None:
    frame = explained().to_polars()
    assert frame.columns == ["user_id", "item_id", "rank", "score", "explanation", "reason_code", "evidence"]
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
    assert list(frame.columns) == ["user_id", "item_id", "explanation", "reason_code", "evidence", *labels]
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
