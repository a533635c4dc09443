"""One function over many shards: in processes of this machine, or as tasks of a Ray cluster.

Each worker computes with one thread, wherever it is, so that sums come out the same on one worker and on a thousand.
"""

import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import re
import secrets
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol, Self, TypeVar, final

from recllm.errors import ConfigError, WorkerError, require
from recllm.options import Progress
from recllm.scale.ordered import LOG, Closing, Died, Done, Raised, attempt, in_order

__all__ = ["Executor", "open_executor"]

S = TypeVar("S")
R = TypeVar("R")

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "RAYON_NUM_THREADS"), "1"
) | {"TOKENIZERS_PARALLELISM": "false"}

_starting = threading.Lock()


class Executor(Protocol):
    """Workers that do one function over many shards.

    Attributes:
        workers: Shards done at a time.
    """

    @property
    def workers(self) -> int: ...  # noqa: D102 (described by the class)

    def map(
        self, fn: Callable[[S], R], shards: Sequence[S], progress: Progress | None = None
    ) -> Generator[R, None, None]:
        """What `fn` makes of each shard, in the order of the shards.

        A shard whose worker dies is done again, at most three times. Results come as they are asked for; no more than
        two shards per worker are done ahead of their turn.

        Args:
            fn: A function of a module, a `functools.partial` of one, or an object of plain data with `__call__`.
            shards: Plain data, too: what says where a shard is, rather than the shard.
            progress: Called as `"shards"` are finished.

        Raises:
            WorkerError: A shard's worker died each time.
            Exception: What `fn` raised over a shard, when its turn comes.
        """

    def close(self) -> None:
        """Let go of the workers."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_executor(address: str) -> Executor:
    """Workers at this address, let go of at the end of a `with`.

    Args:
        address: `local` (a process for each processor of this machine), `local:4` (so many), `ray` or `ray:4` (a Ray of
            its own on this machine), `ray:auto` (the Ray that runs on this machine) or `ray://host:port` (the head of
            the Ray that runs on this machine and on others, by its port, such as 6379).

    Raises:
        ConfigError: It is no such address, or no Ray answers there.
        MissingExtraError: Ray is not installed.
    """
    match = re.fullmatch(r"(local|ray)(?::([1-9][0-9]{0,4}))?", address)
    if match:
        workers = int(match[2] or _processors())
        return LocalExecutor(workers) if match[1] == "local" else RayExecutor(None, workers)
    if address == "ray:auto":
        return RayExecutor("auto")
    if re.fullmatch(r"ray://[\w.\-\[\]:]+:[0-9]+", address):
        return RayExecutor(address.removeprefix("ray://"))
    raise ConfigError(
        f"executor {address!r} is no place to work; write 'local', 'local:4', 'ray', 'ray:auto' or 'ray://host:port'."
    )


def workers_of(executor: str | Executor) -> contextlib.AbstractContextManager[Executor]:
    """Workers by their address, which are let go of at the end, or such as are open, which stay so.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(executor, str):
        return open_executor(executor)
    if not callable(getattr(executor, "map", None)):
        raise ConfigError(f"executor is an address, such as 'local:4', or open_executor of one; got {executor!r}.")
    return contextlib.nullcontext(executor)


def _processors() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- processes of this machine -----------------------------------------------------------------------------------


@final
class LocalExecutor(Closing):
    """Processes of this machine, started afresh for each map and ended with it.

    They are "spawned" and never forked: torch and polars keep threads that a fork does not have. So a script that maps
    needs `if __name__ == "__main__":`, as all that start processes do.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(
        self, fn: Callable[[S], R], shards: Sequence[S], progress: Progress | None = None
    ) -> Generator[R, None, None]:
        """See `Executor.map`."""
        return in_order(_Processes(fn, self.workers), shards, self.workers, progress)


class _Processes:
    """See `recllm.scale.ordered.Pool`."""

    def __init__(self, fn: Callable[[Any], Any], workers: int) -> None:
        self._fn, self._workers = fn, workers
        self._idle: list[_Process] = []
        self._busy: dict[_Process, int] = {}

    def free(self) -> bool:
        return len(self._busy) < self._workers

    def start(self, number: int, shard: Any) -> None:
        process = self._idle.pop() if self._idle else _Process(self._fn)
        self._busy[process] = number
        # One that died while it waited is found out when its answer is waited for.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.connection.send(shard)

    def next(self) -> tuple[int, Done[Any] | Raised | Died]:
        by_connection = {process.connection: process for process in self._busy}
        process = by_connection[multiprocessing.connection.wait(list(by_connection))[0]]  # type: ignore[index]
        number = self._busy.pop(process)
        try:
            end = process.connection.recv()
        except (EOFError, ConnectionResetError):
            return number, Died(process.how_it_died())
        self._idle.append(process)
        return number, end

    def close(self) -> None:
        for process in [*self._idle, *self._busy]:
            process.end()
        self._idle, self._busy = [], {}


class _Process:
    """A process and the pipe to it."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(fn, theirs), daemon=True)
        with _starting:  # libraries read these when they are loaded, and a process begins with its parent's
            before = {name: os.environ.get(name) for name in ONE_THREAD}
            os.environ.update(ONE_THREAD)
            try:
                self._process.start()
            finally:
                for name, value in before.items():
                    os.environ.pop(name) if value is None else os.environ.update({name: value})
        theirs.close()

    def end(self) -> None:
        """End it, whatever it is at."""
        self.connection.close()
        self._process.kill()
        self._process.join()
        self._process.close()

    def how_it_died(self) -> str:
        """Of a process that has let go of its pipe."""
        self._process.join(10)
        code, name = self._process.exitcode, f"(process {self._process.pid})"
        self.end()
        if code is not None and code < 0:
            return f"{name} was ended by signal {-code} ({signal.Signals(-code).name})"
        unguarded = ' (a script that starts processes needs `if __name__ == "__main__":`)' if code == 1 else ""
        return f"{name} went away with exit code {code}{unguarded}"


def _work(fn: Callable[[Any], Any], connection: multiprocessing.connection.Connection) -> None:
    """What a process does: shards, until nobody asks for more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who asked is interrupted, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            shard = connection.recv()
        except EOFError:
            return
        end = attempt(fn, shard)
        try:
            connection.send(end)
        except BrokenPipeError:
            return
        except Exception as error:  # no process can be told of it
            connection.send(Raised(WorkerError(f"what came of a shard cannot be sent between processes: {error}")))


def _end_with_parent() -> None:
    """A driver that is killed leaves nobody behind who would go on writing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


# --- Ray ---------------------------------------------------------------------------------------------------------


@final
class RayExecutor(Closing):
    """Tasks of a Ray cluster, one processor each.

    Whoever reaches a Ray port that asks for no token can run code there. A Ray of our own asks for one that is made up
    and lives as long as this process (unless `RAY_AUTH_MODE` says otherwise), and keeps to this machine. The token of
    another one is in `RAY_AUTH_TOKEN` or `~/.ray/auth_token`. A Ray that this process has joined before is used as it
    is, and left to whoever joined it.
    """

    def __init__(self, address: str | None, workers: int | None = None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if address is None:  # read when Ray is imported; its name is of the systems where this is the default
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        self._ray: Any = require("ray", "scale")
        if address is None:
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        own = {} if address else {"num_cpus": workers, "include_dashboard": False}
        self._joined = not self._ray.is_initialized()
        try:
            if self._joined:
                self._ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **own)
        except Exception as error:  # Ray's clients raise what the layer below raised
            self.close()
            raise ConfigError(
                f"no Ray answers at {address or 'this machine'} ({_first_line(error)}); look whether it runs and "
                "whether RAY_AUTH_TOKEN is its token."
            ) from error
        if self._joined:
            _quiet_on_stdout()
        self.workers: int = workers or int(self._ray.cluster_resources().get("CPU", 1))

    def map(
        self, fn: Callable[[S], R], shards: Sequence[S], progress: Progress | None = None
    ) -> Generator[R, None, None]:
        """See `Executor.map`."""
        return in_order(_Tasks(self._ray, fn, self.workers), shards, self.workers, progress)

    def close(self) -> None:
        """Leave the cluster, and end it if it is our own."""
        if self._joined:
            self._ray.shutdown()


def _quiet_on_stdout() -> None:
    """What Ray's daemon has to say goes to our log: Ray prints it where results are written, and offers no switch."""
    inside: Any = importlib.import_module("ray._private.worker")
    if hasattr(inside, "print_to_stdstream"):
        inside.print_to_stdstream = lambda data, **_: LOG.info("Ray: %s", " ".join(data.get("lines", ())))


class _Tasks:
    """See `recllm.scale.ordered.Pool`."""

    def __init__(self, ray: Any, fn: Callable[[Any], Any], workers: int) -> None:
        self._ray, self._workers = ray, workers
        self._fn = ray.put(fn)
        # We do them again ourselves, so that it is bounded, and said, in the same way everywhere.
        self._task = ray.remote(num_cpus=1, max_retries=0, runtime_env={"env_vars": ONE_THREAD})(attempt)
        self._running: dict[Any, int] = {}

    def free(self) -> bool:
        return len(self._running) < self._workers

    def start(self, number: int, shard: Any) -> None:
        self._running[self._task.remote(self._fn, shard)] = number

    def next(self) -> tuple[int, Done[Any] | Raised | Died]:
        reference = self._ray.wait(list(self._running), num_returns=1)[0][0]
        number = self._running.pop(reference)
        try:
            return number, self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            return number, Raised(WorkerError(f"what came of a shard cannot be sent between processes: {error}"))
        except self._ray.exceptions.RayError as error:
            return number, Died(f"is gone ({type(error).__name__})")

    def close(self) -> None:
        for reference in self._running:
            with contextlib.suppress(Exception):  # a cluster that is gone has nothing to cancel
                self._ray.cancel(reference, force=True)
        self._running = {}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
