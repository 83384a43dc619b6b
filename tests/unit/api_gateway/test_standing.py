"""When messages are sent and probes made: tables, a clock moved by hand, and whatever order things happen in."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.api_gateway.breaker import COUNTED_S, OPEN_S, OPENS_AFTER, Breaker
from services.api_gateway.link import (
    ALARM_AFTER,
    LINK_STATES,
    TRANSITIONS,
    IllegalTransition,
    Link,
    LinkEvent,
    LinkState,
    reconnect_s,
    retry_s,
)
from services.api_gateway.standing import PROBE_EVERY_S, Standing, begun

EVENTS: tuple[LinkEvent, ...] = ("attempt", "answered", "lost", "close", "closed")
MIDDLE = 0.5
JITTER = st.floats(0, 1)


def connected(now: float = 0.0) -> Standing:
    return begun(now).probing(now).answered(now)


@pytest.mark.parametrize(("state", "event"), list(itertools.product(LINK_STATES, EVENTS)))
def test_what_is_not_in_the_table_cannot_happen(state: LinkState, event: LinkEvent) -> None:
    link = Link(state, 0.0)
    if (state, event) in TRANSITIONS:
        assert link.after(event, 1.0).state == TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalTransition, match=f"{event} cannot happen to a connection that is {state}"):
            link.after(event, 1.0)


def test_only_a_connection_that_is_away_is_attempted_and_a_closed_one_stays_so() -> None:
    assert [state for state in LINK_STATES if (state, "attempt") in TRANSITIONS] == ["disconnected"]
    assert {after for (state, _), after in TRANSITIONS.items() if state == "closed"} == {"closed"}
    assert {after for (state, _), after in TRANSITIONS.items() if state == "closing"} == {"closing", "closed"}


def test_since_is_the_last_change_and_reconnects_leave_the_first_connection_out() -> None:
    link = Link("disconnected", 0.0)
    for at, (event, since, reconnects) in enumerate(
        [
            ("attempt", 1, 0),
            ("answered", 2, 0),
            ("answered", 2, 0),
            ("lost", 4, 0),
            ("attempt", 5, 0),
            ("answered", 6, 1),
        ],
        1,
    ):
        link = link.after(event, float(at))  # type: ignore[arg-type]  # words of the table above
        assert (link.since, link.reconnects) == (since, reconnects)


def test_waits_double_between_their_bounds() -> None:
    assert [reconnect_s(n, MIDDLE) for n in (0, 1, 2, 6, 50)] == [0.5, 1.0, 2.0, 32.0, 32.0]
    assert [retry_s(n, MIDDLE) for n in (1, 2, 3, 4, 5, 50)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@given(st.integers(0, 10_000), JITTER)
def test_waits_are_spread_by_thirty_per_cent_and_never_beyond(attempts: int, jitter: float) -> None:
    for wait, first, longest in ((reconnect_s(attempts, jitter), 0.5, 32), (retry_s(attempts + 1, jitter), 1, 10)):
        assert first * 0.7 - 1e-9 <= wait <= longest * 1.3 + 1e-9
    assert reconnect_s(attempts, 0.0) == pytest.approx(reconnect_s(attempts, MIDDLE) * 0.7)
    assert reconnect_s(attempts, 1.0) == pytest.approx(reconnect_s(attempts, MIDDLE) * 1.3)


def test_ten_failures_open_the_breaker_for_half_a_minute_and_one_probe_closes_it() -> None:
    breaker = Breaker()
    for failures in range(1, OPENS_AFTER):
        breaker = breaker.failed(0.0)
        assert (breaker.state, breaker.failures) == ("closed", failures)
    breaker = breaker.failed(5.0)
    assert (breaker.state, breaker.may_send, breaker.may_close_at) == ("open", False, 5.0 + OPEN_S)
    assert not breaker.may_probe(5.0 + OPEN_S - 0.1)
    probing = breaker.probing(5.0 + OPEN_S)
    assert (probing.state, probing.may_send, probing.may_probe(5.0 + OPEN_S)) == ("half_open", False, False)
    assert probing.answered() == Breaker()
    assert probing.failed(40.0).may_close_at == 40.0 + OPEN_S
    assert probing.confirmed() == Breaker(), "a late confirmation is an answer, too"


def test_an_answered_probe_forgives_no_messages_that_were_not_taken() -> None:
    assert Breaker().failed(0.0).answered().failures == 1
    assert Breaker().failed(0.0).confirmed().failures == 0


def test_a_batch_is_tried_three_times_in_a_row_and_then_the_connection_counts_as_lost() -> None:
    standing = connected()
    for now in (5.0, 11.0):
        standing = standing.unconfirmed(now, MIDDLE)
        assert (standing.may_send, standing.failing) == (True, True)
    standing = standing.unconfirmed(18.0, MIDDLE)
    assert (standing.link.state, standing.may_send, standing.next_probe_at) == ("disconnected", False, 18.5)
    assert standing.probing(18.5).answered(18.6).may_send, "as soon as it answers"


def test_a_confirmation_ends_a_row_of_failures() -> None:
    standing = connected().unconfirmed(1.0, MIDDLE).unconfirmed(2.0, MIDDLE).confirmed(3.0)
    assert (standing.tries, standing.failing, standing.breaker.failures) == (0, False, 0)
    assert standing.next_probe_at == 3.0 + PROBE_EVERY_S


def test_a_broker_that_stays_away_is_probed_ever_more_rarely_then_by_the_breaker_and_alarms() -> None:
    standing, moments = connected().lost(0.0, MIDDLE), list[float]()
    while len(moments) < 14:
        now = standing.next_probe_at
        assert standing.probe_due(now)
        assert not standing.probe_due(now - 0.1)
        moments.append(now)
        assert standing.link.alarm == (len(moments) > ALARM_AFTER)
        standing = standing.probing(now).unanswered(now, MIDDLE)
        assert not standing.may_send
    gaps = [later - earlier for earlier, later in itertools.pairwise([0.0, *moments])]
    assert gaps == [0.5, 1, 2, 4, 8, 16, 32, 32, 32, 32, OPEN_S, OPEN_S, OPEN_S, OPEN_S]
    back = standing.probing(standing.next_probe_at).answered(standing.next_probe_at)
    assert (back.may_send, back.failing, back.link.alarm, back.link.reconnects) == (True, False, False, 1)


def test_a_probe_under_way_tells_for_itself_whether_it_is_lost() -> None:
    probing = begun(0.0).probing(0.0)
    assert probing.lost(0.1, MIDDLE) == probing
    assert probing.unanswered(3.0, MIDDLE).link.attempts == 1, "one attempt, counted once"


class Broker(RuleBasedStateMachine):
    """Time passes, probes and batches end or do not, librdkafka complains: in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.standing = begun(0.0)
        self.probing = self.sending = False

    @rule(seconds=st.floats(0, 60))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.probing and self.standing.probe_due(self.now))
    @rule()
    def probe(self) -> None:
        self.standing, self.probing = self.standing.probing(self.now), True

    @precondition(lambda self: self.probing)
    @rule(answered=st.booleans(), jitter=JITTER)
    def probe_ends(self, answered: bool, jitter: float) -> None:
        self.probing = False
        after = self.standing.answered(self.now) if answered else self.standing.unanswered(self.now, jitter)
        self.standing = after

    @precondition(lambda self: not self.sending and self.standing.may_send)
    @rule()
    def send(self) -> None:
        assert self.standing.breaker.state == "closed", "nothing is sent while it is open"
        self.sending = True

    @precondition(lambda self: self.sending)
    @rule(confirmed=st.booleans(), jitter=JITTER)
    def send_ends(self, confirmed: bool, jitter: float) -> None:
        self.sending = False
        standing = self.standing
        self.standing = standing.confirmed(self.now) if confirmed else standing.unconfirmed(self.now, jitter)

    @rule(jitter=JITTER)
    def librdkafka_complains(self, jitter: float) -> None:
        self.standing = self.standing.lost(self.now, jitter)

    @invariant()
    def an_open_breaker_lets_nothing_through_and_says_when_it_may_close(self) -> None:
        breaker = self.standing.breaker
        assert (breaker.state == "closed") == (breaker.may_close_at is None)
        if breaker.state == "open":
            assert not self.standing.may_send
            assert breaker.may_close_at is not None
            assert breaker.may_close_at <= self.now + OPEN_S

    @invariant()
    def in_the_end_it_is_always_probed(self) -> None:
        if self.probing:
            return
        longest = max(reconnect_s(50, 1.0), PROBE_EVERY_S, OPEN_S)
        assert self.standing.next_probe_at <= self.now + longest
        assert self.standing.probe_due(self.now + longest)


TestAnyOrder = Broker.TestCase


def test_failures_that_are_far_apart_open_nothing_and_those_of_one_outage_do() -> None:
    breaker, every_s = Breaker(), COUNTED_S / (OPENS_AFTER - 1) + 1
    for number in range(100):
        breaker = breaker.failed(number * every_s).answered()
        assert breaker.may_send
        assert breaker.failures < OPENS_AFTER
    assert not breaker.failed(99 * every_s + 1).may_send, "the tenth within the time"


def test_a_broker_that_stays_away_opens_the_breaker_however_slowly_it_is_probed() -> None:
    standing, now = begun(0.0), 0.0
    while standing.breaker.state == "closed" and now < COUNTED_S:
        now = max(now, standing.next_probe_at)
        standing = standing.probing(now).unanswered(now + 3.0, 1.0)
        now += 3.0
    assert standing.breaker.failures == OPENS_AFTER
    assert now < COUNTED_S / 2
