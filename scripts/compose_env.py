"""Writes deploy/compose/millrace.env from the settings classes: `python scripts/compose_env.py`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

import yaml
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from scripts.configuration import SECTIONS, variables

ROOT: Final = Path(__file__).parent.parent
COMPOSE: Final = ROOT / "compose.kafka.yml"
TARGET: Final = ROOT / "deploy" / "compose" / "millrace.env"
HEAD: Final = """\
# Settings of Millrace's services for compose.kafka.yml. Each is explained above its line; a line that begins with #
# shows the default. What compose.kafka.yml sets itself (addresses, ports, the media store) is not here, and no secret
# is: keys of models' APIs go into deploy/compose/secrets/keys.env, which scripts/start makes.
#
# Written by `python scripts/compose_env.py` from the settings classes. After a change: scripts/start.
"""
OURS: Final = {"MILLRACE_LOG_FORMAT": "json"}
"""Where containers are better served by something else than the default."""


def set_by_compose() -> set[str]:
    """Variables of Millrace that the compose file gives its services."""
    services = yaml.safe_load(COMPOSE.read_text())["services"].values()
    return {name for service in services for name in service.get("environment", {}) if name.startswith("MILLRACE_")}


def is_secret(field: FieldInfo) -> bool:
    """Whether a setting's value is not for files that others read."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def lines(name: str, field: FieldInfo) -> Iterator[str]:
    """A setting: what it means, and its default."""
    text = (field.description or "").replace("`", "")
    yield from textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ")
    default = field.get_default(call_default_factory=False)
    value = "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)
    yield f"{name}={OURS[name]}" if name in OURS else f"#{name}={value}"


def page() -> str:
    """The whole file."""
    parts, done = [HEAD], set_by_compose()
    for title, settings, _ in SECTIONS:
        section = []
        for key, field in settings.model_fields.items():
            name = variables(key, field).split(",")[0].strip("`")
            if name not in done and not is_secret(field):
                done.add(name)
                section += ["", *lines(name, field)]
        if section:
            parts.append("\n".join([f"# ---- {title} ----", *section]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page())
