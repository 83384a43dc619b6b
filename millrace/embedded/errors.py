"""What can go wrong while the embedded parts start, each with a sentence that says what to do."""

from __future__ import annotations

from millrace.errors import MillraceError


class EmbeddedError(MillraceError):
    """The embedded stack cannot run as asked; the text says why and what helps."""


class FolderInUse(EmbeddedError):
    """Another process works on the data folder."""


class DownloadFailed(EmbeddedError):
    """A package of the stack could not be fetched or is not what the lock file says it is."""


class StartFailed(EmbeddedError):
    """A part did not become ready.

    `log_tail` holds the last lines of its log, oldest first; they have been reported when this reaches a caller.
    """

    def __init__(self, sentence: str, log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.log_tail = log_tail
