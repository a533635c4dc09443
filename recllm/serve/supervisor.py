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

SOON = 10.0
"""Seconds; a server that dies sooner after its start than this has died of it."""

TIMES = 3
"""So many such deaths in a row, and it is not begun again."""

_SLOW = ("recllm.serve.live.live", "recllm.serve.web.run", "transformers.models.bert.modeling_bert")
"""Nothing of it computes when it is imported, so a fork has what it needs."""

_PDEATHSIG = 1


def supervised(serve: Callable[[], None]) -> int:
    """Serve in a process of its own, and begin anew when that is killed.

    Args:
        serve: Serves until it is told to stop, and returns.

    Returns:
        The exit code of the server that ended by itself.

    Raises:
        ServeError: It died again and again at its start.
    """
    for module in _SLOW:
        importlib.import_module(module)
    stopping: list[int] = []
    early = 0
    while True:
        begun = time.monotonic()
        child = os.fork()
        if child == 0:
            _serve(serve, os.getppid())

        def forward(number: int, _: object, child: int = child) -> None:
            stopping.append(number)
            os.kill(child, signal.SIGTERM)

        former = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            status = os.waitpid(child, 0)[1]
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        if stopping:
            return 0
        name = signal.Signals(os.WTERMSIG(status)).name
        early = early + 1 if time.monotonic() - begun < SOON else 0
        if early == TIMES:
            raise ServeError(f"the server was ended by {name} {TIMES} times in a row, soon after its start.")
        sys.stderr.write(f"The server was ended by {name}; it begins anew.\n")


def can_supervise() -> bool:
    """Whether this system has what it takes."""
    return sys.platform == "linux"


def _serve(serve: Callable[[], None], parent: int) -> None:
    """In the child: serve, and leave without what the parent would do at its end."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        # A server without its supervisor would hold the folder and the port.
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == parent:
            serve()
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
