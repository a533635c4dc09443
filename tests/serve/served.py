"""An app on loopback, behind the server that people run, for as long as a test needs it."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn

from recllm.serve.web.run import listen_at


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """The address of the app, which stops with the block."""
    listener = listen_at("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.005)
        assert server.started, "the server did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive()
