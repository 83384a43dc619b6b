from __future__ import annotations

from millrace.store.blobs.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker


class Now:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def test_all_are_let_through_until_one_fails() -> None:
    breaker = Breaker(Now())
    assert all(breaker.lets_through() for _ in range(3))
    breaker.failed()
    assert not breaker.lets_through()


def test_one_tries_after_a_pause_and_the_others_wait_for_it() -> None:
    breaker = Breaker(now := Now())
    breaker.failed()
    now.at += FIRST_PAUSE_S
    assert [breaker.lets_through() for _ in range(3)] == [True, False, False]
    breaker.succeeded()
    assert breaker.lets_through()


def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_success() -> None:
    breaker = Breaker(now := Now())
    pauses = []
    for _ in range(6):
        breaker.failed()
        began = now.at
        while not breaker.lets_through():
            now.at += 1
        pauses.append(now.at - began)
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert pauses[-1] == LONGEST_PAUSE_S
    breaker.succeeded()
    breaker.failed()
    now.at += FIRST_PAUSE_S
    assert breaker.lets_through()


def test_who_tries_and_never_comes_back_does_not_stop_the_others_for_ever() -> None:
    breaker = Breaker(now := Now())
    breaker.failed()
    now.at += FIRST_PAUSE_S
    assert breaker.lets_through()
    now.at += FIRST_PAUSE_S
    assert breaker.lets_through()
