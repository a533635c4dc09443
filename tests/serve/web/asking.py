"""An app over the engine without a model, asked in this process."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from recllm.serve.settings import Settings
from recllm.serve.web.app import create_app
from recllm.serve.web.keys import Key, Keys, Role, new_key
from tests.serve.fake import FakeLive

HERE = "http://127.0.0.1:8765"


@dataclasses.dataclass
class Shop:
    """An app, its engine, who asks it, and the secrets of its keys by role."""

    app: FastAPI
    live: FakeLive
    http: TestClient
    secrets: dict[Role, str]

    def get(self, path: str, **more: Any) -> Any:
        return self.http.get(path, **more)

    def bearer(self, role: Role) -> dict[str, str]:
        return {"authorization": f"Bearer {self.secrets[role]}"}


@contextlib.contextmanager
def open_shop(*, keys: bool = False, **settings: Any) -> Iterator[Shop]:
    live, secrets, kept = FakeLive(Settings(**settings)), {}, list[Key]()
    if keys:
        for role in Role:
            secrets[role], key = new_key(role.name.lower(), role)
            kept.append(key)
    app = create_app(live, Keys(kept) if keys else None)  # type: ignore[arg-type]
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as http:
        yield Shop(app, live, http, secrets)


def problem(response: Any) -> tuple[int, str, str]:
    """Status, code and sentence; and that the error has the one shape that errors have."""
    body = response.json()
    assert set(body) == {"error"}, body
    assert set(body["error"]) == {"code", "message"}, body
    message = body["error"]["message"]
    assert len(message) <= 420, "a sentence, not what came"
    assert "Traceback" not in message
    assert "\n" not in message
    return response.status_code, body["error"]["code"], message
