"""What the doctor says about a machine."""

from __future__ import annotations

from pathlib import Path

from millrace.embedded import doctor


def test_an_old_python_is_named_with_its_cure() -> None:
    check = doctor.check_python((3, 10, 9))
    assert not check.ok
    assert check.what_to_do == "Install Python 3.11 or newer and make the environment with it."
    assert doctor.check_python((3, 11, 0)).ok


def test_missing_packages_are_named_with_the_extras_that_bring_them() -> None:
    check = doctor.check_packages(lambda name: name not in {"fastapi", "uvicorn", "av"})
    assert check.detail == "missing: fastapi, uvicorn, av"
    assert check.what_to_do == "Install millrace[gateway,media]."


def test_too_little_room_is_a_fault_and_missing_downloads_are_not(tmp_path: Path) -> None:
    assert not doctor.check_disk(tmp_path, 10**9).ok
    cache = doctor.check_cache(tmp_path)
    assert cache.ok
    assert "Kafka 4.1" in cache.detail


def test_a_data_folder_below_something_that_is_no_folder_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o700)
    assert not doctor.check_data(tmp_path / "file" / "data").ok
    assert doctor.check_data(tmp_path / "new" / "data").ok


def test_every_check_of_a_whole_machine_answers(tmp_path: Path) -> None:
    checks = doctor.examine(tmp_path, {"MILLRACE_CACHE": str(tmp_path)})
    assert all(check.ok or check.what_to_do for check in checks)
