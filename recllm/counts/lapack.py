"""Two routines of LAPACK that other threads need not wait for.

`scipy.linalg.lapack` holds Python's lock while it computes: .6 s for 3,852 items, in which a server answers nobody. The
same routines of the same library, called through `scipy.linalg.cython_lapack`, give the same numbers without it.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import scipy.linalg.cython_lapack

_LOWER = ctypes.c_char(b"L")


def cholesky_(matrix: np.ndarray) -> None:
    """Put the Cholesky factor of a symmetric matrix into the place of its lower triangle, which alone is read.

    Args:
        matrix: float32 [n, n], in Fortran's order.

    Raises:
        ArithmeticError: It is not positive definite.
    """
    _called("spotrf", matrix)


def inverse_(factor: np.ndarray) -> None:
    """Put the inverse of a matrix, of which this is the Cholesky factor, into the place of its lower triangle.

    Args:
        factor: float32 [n, n], in Fortran's order; from `cholesky_`.

    Raises:
        ArithmeticError: There is none.
    """
    _called("spotri", factor)


def _called(name: str, matrix: np.ndarray) -> None:
    size, wrong = ctypes.c_int(len(matrix)), ctypes.c_int(0)
    if matrix.dtype != np.float32 or not matrix.flags.f_contiguous or matrix.shape != (len(matrix), len(matrix)):
        raise ValueError("a float32 matrix in Fortran's order was expected.")
    lower, order, info = ctypes.byref(_LOWER), ctypes.byref(size), ctypes.byref(wrong)
    _routine(name)(lower, order, matrix.ctypes.data_as(ctypes.c_void_p), order, info)
    if wrong.value:
        raise ArithmeticError(f"the matrix is not positive definite (place {wrong.value}).")


@cache
def _routine(name: str) -> Callable[..., Any]:
    """(uplo, n, a, lda, info) -> None."""
    capsule = scipy.linalg.cython_lapack.__pyx_capi__[name]
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5)(pointer_of(capsule, name_of(capsule)))
