"""How every command ends: one clear sentence, and an exit status that means something (as in sysexits.h).

The README lists these for people; what is wrong with a command line itself ends 2, by Typer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from millrace.cli.client import NotSettled
from millrace.errors import ConfigurationError, MillraceError, Unavailable

DONE = 0
FAILED = 1
"""The command did its work and the answer is no: a check failed, a share failed."""
UNAVAILABLE = 69
SOFTWARE = 70
LATER = 75
"""Not ended yet: a share is parked until there is money, or the wait was over first."""
CONFIGURATION = 78
INTERRUPTED = 130


def status_of(error: MillraceError) -> int:
    """Exit status for an error."""
    statuses = {Unavailable: UNAVAILABLE, ConfigurationError: CONFIGURATION, NotSettled: LATER}
    return next((status for kind, status in statuses.items() if isinstance(error, kind)), FAILED)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn an error into its sentence on standard error and its exit status; never a traceback."""
    try:
        yield
    except MillraceError as error:
        sys.stderr.write(f"millrace: {error}\n")
        for line in getattr(error, "log_tail", ()):
            sys.stderr.write(f"    {line}\n")
        raise typer.Exit(status_of(error)) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
