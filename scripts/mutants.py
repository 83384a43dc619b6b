"""Breaks decisive lines one at a time and sees whether a test notices: `python scripts/mutants.py`.

Each mutant is one change to a copy of the tree, and the narrowest tests that have to fail with it. The checkout is
never changed. Exit status: 0 all were caught, 1 some survived, 2 the list does not fit the code or its tests fail.

    python scripts/mutants.py --list
    python scripts/mutants.py --only acks-out-of-order cap-one-beyond

Most integration tests start a stack of their own unless one is named (CONTRIBUTING.md): with one that is kept running
all of it takes a few minutes.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from scripts.mutant_list import MUTANTS, Mutant

ROOT: Final = Path(__file__).resolve().parent.parent
TIMEOUT_S: Final = 280.0
"""For one run of pytest. A mutant that hangs its tests is caught: `make test` would hang, too."""
_NARROW: Final = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--tb=no", "-o", "timeout=60")
# hypothesis' plugin ends a run whose test fails with an INTERNALERROR on Python 3.11.7; @given works without it.
_PASSED, _FAILED = 0, 1
_FAILURE = re.compile(r"^(?:FAILED|ERROR) (?P<test>.+?)(?: - (?P<why>.*))?$", re.MULTILINE)

Verdict = Literal["caught", "caught by time", "survived", "does not fit"]


@dataclass(frozen=True)
class Outcome:
    """What came of a mutant: the first test that failed, or why it could not be tried."""

    name: str
    verdict: Verdict
    seconds: float
    test: str = ""


class DoesNotFit(Exception):
    """The list and the code, or the tests, do not go together any more."""


def mutated(mutant: Mutant, root: Path) -> str:
    """The file with the change.

    :raises DoesNotFit: the old text does not stand there exactly once, or the new file is no Python.
    """
    path = root / mutant.file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (found := text.count(mutant.old)) != 1:
        raise DoesNotFit(f"{mutant.name}: its text stands {found} times in {mutant.file}")
    changed = text.replace(mutant.old, mutant.new)
    try:
        ast.parse(changed)
    except SyntaxError as exc:
        raise DoesNotFit(f"{mutant.name}: {mutant.file} would be no Python ({exc})") from exc
    return changed


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    """A fresh copy of what git knows or would add: no bytecode of another mutant, and none left behind."""
    listed = subprocess.run(
        ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"),
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    with tempfile.TemporaryDirectory(prefix="millrace-mutant-") as folder:
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():  # else deleted and not committed
                target = Path(folder) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        yield Path(folder)


def pytest(tests: Iterable[str], folder: Path, timeout_s: float = TIMEOUT_S) -> tuple[int | None, str]:
    """Run tests in a copy; exit status (None: it took too long) and output."""
    process = subprocess.Popen(
        (sys.executable, "-m", "pytest", *_NARROW, f"--basetemp={folder}/.tests", *tests),
        cwd=folder,
        # First on the path: an editable install may lead to the checkout, also in processes that tests start.
        env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "1000"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]
    return process.returncode, output


def check_tests(mutants: Sequence[Mutant]) -> None:
    """See that the tests pass without any mutant, file by file.

    :raises DoesNotFit: some do not, or they would not test the copy.
    """
    files: dict[str, dict[str, None]] = {}
    for mutant in mutants:
        for test in mutant.tests:
            files.setdefault(test.split("::")[0], {})[test] = None
    with copy_of_the_tree() as folder:
        origin = subprocess.run(
            (sys.executable, "-c", "import millrace, services; print(millrace.__file__, services.__path__)"),
            cwd=folder.parent,
            env={**os.environ, "PYTHONPATH": str(folder)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        if origin.count(str(folder)) != 2:
            raise DoesNotFit(f"the copy in {folder} would not be tested, but {origin.strip()}")
        for number, (file, tests) in enumerate(files.items(), 1):
            began = time.monotonic()
            status, output = pytest([file] if file in tests else tests, folder)
            say(f"[{number}/{len(files)}] {file}: unchanged, {time.monotonic() - began:.1f} s")
            if status != _PASSED:
                raise DoesNotFit(f"{file} does not pass without a mutant ({status=}):\n{output[-2000:]}")


def attempt(mutant: Mutant) -> Outcome:
    """Let the tests of a mutant judge it."""
    began = time.monotonic()
    with copy_of_the_tree() as folder:
        (folder / mutant.file).write_text(mutated(mutant, folder), encoding="utf-8")
        status, output = pytest(mutant.tests, folder)
    seconds = round(time.monotonic() - began, 1)
    failure = _FAILURE.search(output)
    test = failure["test"] if failure else ""
    if status is None or (failure and "Timeout (>" in (failure["why"] or "")):
        return Outcome(mutant.name, "caught by time", seconds, test)
    if status == _PASSED:
        return Outcome(mutant.name, "survived", seconds)
    if status == _FAILED and failure:
        return Outcome(mutant.name, "caught", seconds, test)
    return Outcome(mutant.name, "does not fit", seconds, f"pytest ended with {status}: {output[-300:].strip()}")


def say(line: str) -> None:
    """Progress, beside the table on stdout."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def chosen(names: Sequence[str] | None) -> list[Mutant]:
    """The mutants of these names, or all.

    :raises DoesNotFit: a name is unknown, or given to two mutants.
    """
    known = {mutant.name: mutant for mutant in MUTANTS}
    if len(known) != len(MUTANTS):
        raise DoesNotFit("two mutants have the same name")
    if unknown := set(names or ()) - known.keys():
        raise DoesNotFit(f"there is no mutant {', '.join(sorted(unknown))}: see --list")
    return [mutant for mutant in MUTANTS if not names or mutant.name in names]


def judge(mutants: Sequence[Mutant]) -> list[Outcome]:
    """Check the list and its tests, then try each mutant.

    :raises DoesNotFit: before any was tried.
    """
    for mutant in mutants:
        mutated(mutant, ROOT)
    check_tests(mutants)
    outcomes = []
    for number, mutant in enumerate(mutants, 1):
        outcome = attempt(mutant)
        outcomes.append(outcome)
        say(f"[{number}/{len(mutants)}] {outcome.verdict}: {mutant.name} ({outcome.seconds} s) {outcome.test}")
    return outcomes


def table(mutants: Sequence[Mutant], outcomes: Sequence[Outcome]) -> str:
    """One line a mutant, and how many were caught."""
    width = max(len(mutant.name) for mutant in mutants)
    lines = [
        f"{outcome.verdict:14}  {mutant.name:{width}}  {mutant.breaks}"
        for mutant, outcome in zip(mutants, outcomes, strict=True)
    ]
    caught = sum(outcome.verdict.startswith("caught") for outcome in outcomes)
    return "\n".join([*lines, f"{caught} of {len(outcomes)} caught"])


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="try only these")
    parser.add_argument("--list", action="store_true", help="say which there are and which tests judge them")
    parser.add_argument("--json", action="store_true", help="the outcomes as one JSON document")
    options = parser.parse_args()
    try:
        mutants = chosen(options.only)
        if options.list:
            for mutant in mutants:
                print(f"{mutant.name}: {mutant.breaks} [{mutant.file}; {' '.join(mutant.tests)}]")  # noqa: T201
            return 0
        outcomes = judge(mutants)
    except DoesNotFit as exc:
        say(str(exc))
        return 2
    if options.json:
        breaks = {mutant.name: mutant.breaks for mutant in mutants}
        print(json.dumps([{**asdict(one), "breaks": breaks[one.name]} for one in outcomes], indent=2))  # noqa: T201
    else:
        print(table(mutants, outcomes))  # noqa: T201
    verdicts = {outcome.verdict for outcome in outcomes}
    return 2 if "does not fit" in verdicts else int("survived" in verdicts)


if __name__ == "__main__":
    sys.exit(main())
