"""A place beside a store's content for what is being fetched; `sweep` removes what killed processes left in it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from millrace.errors import Unavailable
from millrace.store.blobs.durable import writing

FETCHING: Final = ".fetching"
"""Its name in a store's folder."""


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder of one's own in `parent`, which is made when missing; gone with what is in it when the context ends.

    :raises Unavailable: it cannot be made, or `parent` is a link: what is fetched would go to, and be swept from,
        wherever that leads.
    """
    with writing():
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if parent.is_symlink():
            raise Unavailable(f"{parent} is a link to another place: remove it, and it is made as a folder")
        made = tempfile.TemporaryDirectory(prefix="media-", dir=parent, ignore_cleanup_errors=True)
    with made as name:
        yield Path(name)
