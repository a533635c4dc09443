"""Begins the server anew when it is killed: what is slow about a start, the imports, is done once and inherited."""

import ctypes
import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable

from recllm.errors import RecllmError, ServeError

TIMES = 3
"""So many deaths in a row before it answered anything, and it is not begun again."""

SOON, PAUSE = 10.0, 0.5
"""Seconds: one that dies so soon for the second time, and further times, is begun again after a pause."""

_SLOW = ("recllm.serve.live.live", "recllm.serve.web.run", "transformers.models.bert.modeling_bert")
"""Nothing of it computes when it is imported, so a fork has what it needs."""

_PDEATHSIG = 1


def supervised(serve: Callable[[Callable[[], None]], None]) -> int:
    """Serve in a process of its own, and begin anew when that is killed.

    Args:
        serve: Serves until it is told to stop, and returns; it calls what it is given when it answers.

    Returns:
        The exit code of the server that ended by itself.

    Raises:
        ServeError: It died again and again at its start.
    """
    for module in _SLOW:
        importlib.import_module(module)
    stopping: list[int] = []
    unborn = early = 0
    while True:
        begun = time.monotonic()
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            _serve(serve, os.getppid(), tell)
        os.close(tell)

        def forward(number: int, _: object, child: int = child) -> None:
            stopping.append(number)
            os.kill(child, signal.SIGTERM)

        former = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            status = os.waitpid(child, 0)[1]
            answered = bool(os.read(told, 1))
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
            os.close(told)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        if stopping:
            return 0
        name = signal.Signals(os.WTERMSIG(status)).name
        unborn = 0 if answered else unborn + 1
        if unborn == TIMES:
            raise ServeError(f"the server was ended by {name} {TIMES} times in a row before it answered anything.")
        sys.stderr.write(f"The server was ended by {name}; it begins anew.\n")
        early = early + 1 if time.monotonic() - begun < SOON else 0
        if early > 1:
            time.sleep(PAUSE)


def can_supervise() -> bool:
    """Whether this system has what it takes."""
    return sys.platform == "linux"


def _serve(serve: Callable[[Callable[[], None]], None], parent: int, tell: int) -> None:
    """In the child: serve, and leave without what the parent would do at its end."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        # A server without its supervisor would hold the folder and the port.
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == parent:
            serve(lambda: _told(tell))
            code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except RecllmError as error:
        sys.stderr.write("Error: " + " ".join(str(error).split()) + "\n")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _told(tell: int) -> None:
    os.write(tell, b"1")
