"""The description says all there is, and what is said holds."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from recllm.serve.answers import Answer
from recllm.serve.web import examples
from tests.serve.web.asking import Shop, open_shop
from tests.serve.web.fuzz import fuzz


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with open_shop(keys=True, max_n=50, max_array=200) as shop:
        yield shop


@pytest.fixture(scope="module")
def described(shop: Shop) -> dict[str, Any]:
    return dict(shop.app.openapi())


def walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from walk(child)
    elif isinstance(node, list):
        for child in node:
            yield from walk(child)


def test_every_operation_is_described_with_a_role_its_errors_and_an_example(described: dict[str, Any]) -> None:
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            place = f"{method} {path}"
            assert operation["summary"], place
            assert operation["description"], place
            assert operation["x-role"] in ("none", "read", "write", "admin"), place
            assert bool(operation.get("security")) == (operation["x-role"] != "none"), place
            for status, response in operation["responses"].items():
                assert response["description"], place
                if int(status) < 400:
                    (content,) = response["content"].values()
                    assert "example" in content or "text/plain" in response["content"], place
                else:
                    assert response["content"]["application/json"]["schema"]["$ref"].endswith("ErrorBody"), place
            if operation["x-role"] != "none":
                assert {"401", "403", "422", "429"} <= set(operation["responses"]), place
            if "requestBody" in operation:
                assert operation["requestBody"]["content"]["application/json"]["examples"], place
                assert "413" in operation["responses"], place
            for parameter in operation.get("parameters", ()):
                assert parameter.get("description") or parameter["schema"].get("description"), (place, parameter)


def test_the_fields_of_answers_are_described(described: dict[str, Any]) -> None:
    for name in ("Answer", "Line", "Page", "Row", "Taken", "Reason", "Found", "Shifts", "ItemRecord", "Problem"):
        schema = described["components"]["schemas"][name]
        assert schema["description"], name
        assert "Attributes" not in schema["description"]
        assert set(schema["required"]) == set(schema["properties"]), name
    line = described["components"]["schemas"]["Line"]["properties"]
    assert line["propensity"]["description"].startswith("How probable")


def test_this_server_s_limits_are_in_the_description(described: dict[str, Any]) -> None:
    assert not [node for node in walk(described) if "x-limit" in node]
    body = described["components"]["schemas"]["SessionBody"]["properties"]
    assert body["n"]["maximum"] == 50
    assert body["events"]["maxItems"] == 200
    feedback = described["paths"]["/api/feedback"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert feedback["maxItems"] == 200


def test_the_description_s_answers_are_answers() -> None:
    TypeAdapter(Answer).validate_python(examples.ANSWER)
    TypeAdapter(Answer).validate_python(examples.SESSION_ANSWER)


def test_the_description_is_served_to_readers(shop: Shop, described: dict[str, Any]) -> None:
    from recllm.serve.web.keys import Role

    assert shop.get("/api/openapi.json").status_code == 401
    assert shop.get("/api/openapi.json", headers=shop.bearer(Role.READ)).json() == described


def test_people_read_it_as_a_page_that_needs_nothing_from_elsewhere(shop: Shop, described: dict[str, Any]) -> None:
    from recllm.serve.web.keys import Role

    assert shop.get("/docs").status_code == 401
    page = shop.get("/docs", headers=shop.bearer(Role.READ))
    assert page.headers["content-type"].startswith("text/html")
    for path, operations in described["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {path}</code>" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert "&#34;user_id&#34;" in page.text


def holds(examples: int, cases: int, paths: str = ".*") -> None:
    with open_shop() as open_to_all:
        outcome = fuzz(open_to_all.app, examples, paths=paths)
    assert outcome.errors == []
    assert outcome.wrong == []
    assert outcome.cases >= cases
    assert max(outcome.statuses) < 500
    assert outcome.statuses[200] > cases / 5


def test_the_edges_of_what_is_asked_are_answered_as_described() -> None:
    holds(examples=0, cases=200, paths="^/api/(recommend|search|explain|user/)")


@pytest.mark.slow
def test_the_edges_of_everything_are_answered_as_described() -> None:
    holds(examples=2, cases=2_000)
