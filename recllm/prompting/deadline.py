"""One deadline for a whole exchange over HTTP: a timeout of the library's own begins again with every byte."""

import ssl
import time
from typing import Any, final

from httpcore2 import NetworkStream, ReadTimeout, SyncBackend


@final
class DeadlineBackend(SyncBackend):
    """Opens connections that are over `seconds` from now, whatever still arrives on them."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until the deadline.

        Raises:
            ReadTimeout: It is over.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise ReadTimeout("the deadline is over")
        return left

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *rest: Any, **more: Any) -> NetworkStream:
        """A connection to the first address of `host` that takes one."""
        return _Stream(super().connect_tcp(host, port, self.left(), *rest, **more), self)


@final
class _Stream(NetworkStream):
    def __init__(self, inner: NetworkStream, deadline: DeadlineBackend) -> None:
        self._inner, self._deadline = inner, deadline
        self.close, self.get_extra_info = inner.close, inner.get_extra_info  # type: ignore[method-assign]

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left())

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._deadline.left()), self._deadline)
