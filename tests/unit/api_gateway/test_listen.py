from __future__ import annotations

import socket

import pytest

from services.api_gateway.__main__ import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_answer_in_two_parts_does_not_wait_for_an_acknowledgement(host: str) -> None:
    with listen(host, 0) as bound, socket.create_connection(bound.getsockname()[:2], 10):
        accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
