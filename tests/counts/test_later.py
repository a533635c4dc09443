"""Computed where it is first asked for, once, whoever asks; and what it was made from is let go."""

import gc
import pickle
import weakref
from functools import partial
from threading import Barrier, Thread

import numpy as np

from recllm.counts.later import Later


def test_it_is_made_at_the_first_question_and_once() -> None:
    made: list[int] = []
    value = Later(lambda: made.append(1) or "it")
    assert (made, value.is_made) == ([], False)
    assert [value.get(), value.get()] == ["it", "it"]
    assert (made, value.is_made) == ([1], True)


def test_threads_that_ask_at_once_get_one_value() -> None:
    made: list[object] = []
    begin, found = Barrier(8), []

    def make() -> object:
        made.append(object())
        return made[-1]

    value = Later(make)

    def ask() -> None:
        begin.wait()
        found.append(value.get())

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert all(one is made[0] for one in found)


def test_one_may_rest_on_another() -> None:
    first = Later(lambda: 2)
    assert Later(lambda: first.get() + 1).get() == 3


def test_what_it_was_made_from_is_let_go() -> None:
    source = np.ones(3)
    value, gone = Later(partial(np.sum, source)), weakref.ref(source)
    del source
    gc.collect()
    assert gone() is not None
    assert value.get() == 3
    gc.collect()
    assert gone() is None


def test_it_fails_again_where_it_failed() -> None:
    answers = iter([ZeroDivisionError, 5])

    def make() -> int:
        answer = next(answers)
        if answer == 5:
            return 5
        raise ZeroDivisionError

    value = Later(make)
    for _ in range(1):
        try:
            value.get()
        except ZeroDivisionError:
            continue
        raise AssertionError("an error was swallowed")
    assert value.get() == 5


def test_it_can_be_kept_before_and_after() -> None:
    value = Later(partial(np.arange, 3))
    before = pickle.dumps(value)
    assert (
        value.get().tolist() == pickle.loads(before).get().tolist() == pickle.loads(pickle.dumps(value)).get().tolist()
    )
