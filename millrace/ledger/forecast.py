"""When a budget will be used up if spending goes on as it did. Pure.

The ledger raises its alerts by this, and the gateway shows it; one function, so that they say the same.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

LEAST_CALLS: Final = 3
"""One call, or two, are no rate: a single large call would foretell the end of every budget."""
_MILLISECOND: Final = timedelta(milliseconds=1)


def exhausted_at(
    start: datetime, end: datetime, at: datetime, *, used: int, cap: int | None, calls: int
) -> datetime | None:
    """When `used` will reach `cap` at the average rate of the window so far; None when the window ends first.

        rate         = used / (at - start)
        exhausted_at = start + cap / rate = start + (at - start) * cap / used,   rounded up to the millisecond

    Held and unconfirmed money is used money, so that the forecast errs towards early. None as well without a cap,
    before a tenth of the window has passed, with fewer than `LEAST_CALLS` calls, and when nothing is used or
    everything is already.

    :param used: micro-US-dollars that count against the cap at the time `at`.
    :param cap: micro-US-dollars.
    :param calls: calls that were granted in the window.
    """
    elapsed = at - start
    if cap is None or not 0 < used < cap or calls < LEAST_CALLS or elapsed * 10 < end - start:
        return None
    milliseconds = -(-(elapsed // _MILLISECOND) * cap // used)
    if milliseconds >= (end - start) // _MILLISECOND:  # also keeps a distant moment out of datetime's range
        return None
    return start + timedelta(milliseconds=milliseconds)
