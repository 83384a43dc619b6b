"""Tools that are no Python packages: what checks with one is skipped where it is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

_HOW_TO_GET: Final = {
    "promtool": "Debian's package prometheus has it",
    "prometheus-node-exporter": "Debian's package of that name has it",
    "helm": "go install helm.sh/helm/v4/cmd/helm@v4.3.2",
}


def tool(name: str) -> Path:
    """Where a tool lies: as MILLRACE_TEST_<NAME> says, or else on the PATH. Without it the test is skipped."""
    variable = f"MILLRACE_TEST_{name.upper().replace('-', '_')}"
    named = os.environ.get(variable)
    if named:
        if not os.access(named, os.X_OK):
            pytest.fail(f"{variable} names {named}, which is no program", pytrace=False)
        return Path(named)
    found = shutil.which(name)
    if found is None:
        how = f" ({_HOW_TO_GET[name]})" if name in _HOW_TO_GET else ""
        pytest.skip(f"{name} is not installed{how}; {variable} may name it")
    return Path(found)
