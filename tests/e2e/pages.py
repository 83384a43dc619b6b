"""Pages for the whole of Millrace: one with a video, one without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from millrace.cli.demo import make_video
from tests.support.web import QuietHandler, served

NOTES = (
    "The miller of the lower valley lets the water run over an oaken wheel, which turns two stones. "
    "Every autumn the farmers bring barley, and each of them is given flour for the bread of one winter. "
    "When the brook freezes the wheel stands still, and the miller repairs its worn paddles with ash wood."
)
WEIR = (
    "A weir holds the river back above the mill. In a dry summer its gate is shut at night, and the pond fills up "
    "until the morning. Eels climb over it in the rain, and children count them from the bridge."
)


@contextmanager
def serve_pages(folder: Path) -> Iterator[str]:
    """`/talk.html` shows a speech, `/notes.html` and `/weir.html` nothing; the address, as host:port."""
    video = make_video(folder).read_bytes() + b"\0\0\0\x08free"  # an empty box: other content than the demo's own
    head = "<!doctype html><html><head><title>{}</title>"
    talk = head.format("A speech") + '</head><body><video src="/talk.mp4"></video></body></html>'

    def captioned(title: str, text: str) -> bytes:
        said = f'<meta property="og:description" content="{text}"></head><body></body></html>'
        return (head.format(title) + said).encode()

    answers = {
        "/talk.html": ("text/html", talk.encode()),
        "/notes.html": ("text/html", captioned("The mill", NOTES)),
        "/weir.html": ("text/html", captioned("The weir", WEIR)),
        "/talk.mp4": ("video/mp4", video),
    }

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
            kind, body = answers.get(self.path, ("text/plain", b""))
            self.answer(200 if body else 404, kind, body)

    with served(Handler) as address:
        yield address
