"""How every command ends: one clear sentence, and an exit status that means something (as in sysexits.h)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from millrace.errors import ConfigurationError, MillraceError, Unavailable

DONE = 0
FAILED = 1
"""The command did its work and the answer is no: a check failed, a share failed."""
UNAVAILABLE = 69
SOFTWARE = 70
CONFIGURATION = 78
INTERRUPTED = 130


def status_of(error: MillraceError) -> int:
    """Exit status for an error."""
    if isinstance(error, Unavailable):
        return UNAVAILABLE
    if isinstance(error, ConfigurationError):
        return CONFIGURATION
    return FAILED


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
