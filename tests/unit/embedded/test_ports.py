"""Which ports the parts get."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from millrace.embedded.errors import EmbeddedError
from millrace.embedded.ports import candidates, choose_ports, load_ports, save_ports

FOLDER = Path("/data")


def choose(
    *names: str,
    given: Mapping[str, int] | None = None,
    remembered: Mapping[str, int] | None = None,
    taken: Collection[int] = (),
) -> dict[str, int]:
    return choose_ports(
        names, given=given or {}, remembered=remembered or {}, is_free=lambda port: port not in taken, folder=FOLDER
    )


def test_a_restart_keeps_its_ports_while_they_are_free() -> None:
    first = choose("kafka", "registry")
    assert choose("registry", "kafka", remembered=first) == first


def test_a_remembered_port_that_is_taken_is_replaced() -> None:
    chosen = choose("kafka", remembered={"kafka": 25_000}, taken={25_000})
    assert chosen["kafka"] != 25_000


def test_a_given_port_wins_over_a_remembered_one() -> None:
    assert choose("kafka", given={"kafka": 9092}, remembered={"kafka": 25_000}) == {"kafka": 9092}


def test_a_given_port_that_is_taken_is_refused_with_its_number() -> None:
    with pytest.raises(EmbeddedError, match="Port 9092, wanted for kafka, is taken"):
        choose("kafka", given={"kafka": 9092}, taken={9092})


def test_no_port_is_handed_out_twice() -> None:
    same = next(candidates(FOLDER, "kafka"))
    chosen = choose("kafka", "registry", "postgres", given={"postgres": same}, remembered={"registry": same})
    assert len(set(chosen.values())) == 3
    assert chosen["postgres"] == same


def test_candidates_cover_the_range_once_and_stay_below_the_ports_of_outgoing_connections() -> None:
    ports = list(candidates(FOLDER, "kafka"))
    assert sorted(ports) == list(range(20_000, 30_000))


def test_an_unreadable_memory_of_ports_is_no_obstacle(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    assert load_ports(file) == {}
    file.write_text("{cut sh")
    assert load_ports(file) == {}
    save_ports(file, {"kafka": 25_000})
    assert load_ports(file) == {"kafka": 25_000}
