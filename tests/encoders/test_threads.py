"""Two threads must not make two models of one seed, and eight visitors must not wait for sixteen threads."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch

from recllm.encoders.threads import SMALL, reproducible, threads_for

TWO_THREADS = """
import torch
from recllm.encoders.threads import reproducible
torch.set_num_threads(2)
torch.manual_seed(0)
vectors = torch.randn(120, 384, requires_grad=True)
rows, upstream = torch.randint(0, 120, (128, 32)), torch.randn(128, 32, 384)
def gradients():
    found = set()
    for _ in range(12):
        vectors.grad = None
        vectors[rows].backward(upstream)
        found.add(vectors.grad.numpy().tobytes())
    return len(found)
with reproducible():
    print(gradients())
"""


def test_gradients_of_rows_are_summed_in_one_order() -> None:
    """In a process of its own: the number of threads is the process's, and pytest's may be one."""
    done = subprocess.run([sys.executable, "-c", TWO_THREADS], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["1"]


def test_what_was_set_before_comes_back_after_the_last_fit() -> None:
    barrier = Barrier(2)

    def fit(last: bool) -> bool:
        with reproducible():
            barrier.wait()
            if last:
                barrier.wait()
            inside = torch.are_deterministic_algorithms_enabled()
        if not last:
            barrier.wait()
        return inside

    assert not torch.are_deterministic_algorithms_enabled()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fit, [False, True])) == [True, True]
    assert not torch.are_deterministic_algorithms_enabled()


def test_small_requests_take_one_thread_and_leave_the_others_theirs() -> None:
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        barrier = Barrier(4)

        def serve(cells: int) -> tuple[int, int]:
            with threads_for(cells):
                barrier.wait()  # all are inside
                inside = torch.get_num_threads()
                barrier.wait()
            return inside, torch.get_num_threads()

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(serve, [10, 10, SMALL, 10])) == [(1, 3), (1, 3), (3, 3), (1, 3)]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)
