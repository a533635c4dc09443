import threading
import time

import numpy as np
import pytest
import scipy.linalg

from recllm.counts.lapack import cholesky_, inverse_


def matrix(size: int, seed: int = 0) -> np.ndarray:
    part = np.random.default_rng(seed).random((size, size), dtype=np.float32)
    return np.asfortranarray(part @ part.T + size * np.eye(size, dtype=np.float32))


@pytest.mark.parametrize("size", [1, 2, 7, 300])
def test_the_numbers_are_those_of_the_usual_way_in(size: int) -> None:
    ours, theirs = matrix(size), matrix(size)
    factor, _ = scipy.linalg.lapack.spotrf(theirs, lower=True)
    cholesky_(ours)
    np.testing.assert_array_equal(np.tril(ours), np.tril(factor))
    inverse, _ = scipy.linalg.lapack.spotri(factor, lower=True)
    inverse_(ours)
    np.testing.assert_array_equal(np.tril(ours), np.tril(inverse))


def test_others_go_on_meanwhile() -> None:
    held = matrix(3_000)
    computing = threading.Thread(target=cholesky_, args=[held])
    begin = time.perf_counter()
    computing.start()
    went_on = 0
    while computing.is_alive():
        went_on += 1
        time.sleep(0.0005)
    assert went_on > 10, f"in {time.perf_counter() - begin:.2f} s"


def test_what_has_no_inverse_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="positive definite"):
        cholesky_(np.asfortranarray(-np.eye(3, dtype=np.float32)))
    with pytest.raises(ValueError, match="Fortran"):
        cholesky_(np.ones((2, 3), dtype=np.float32))
    with pytest.raises(ValueError, match="Fortran"):
        cholesky_(np.ones((3, 3)))
