"""Writes docs/configuration.md from the settings classes: `python scripts/configuration.py`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from millrace.settings import CoreSettings, ServiceSettings, StageSettings, WorkerSettings
from services.api_gateway.settings import GatewaySettings
from services.cost_ledger.settings import LedgerSettings
from services.embed_agent.settings import EmbedSettings
from services.media_agent.settings import MediaSettings
from services.summarize_agent.settings import SummarizeSettings
from services.transcribe_agent.settings import TranscribeSettings

TARGET = Path(__file__).parent.parent / "docs" / "configuration.md"
HEAD = """# Configuration

Services are configured by environment variables, read once at the start; `millrace up` sets what it decides itself
(addresses, ports, the media store) and passes the rest of its environment on. A variable that is set to nothing
counts as not set. This page is written by `python scripts/configuration.py` from the settings classes.

## The command `millrace`

| variable | default | meaning |
| --- | --- | --- |
| `MILLRACE_GATEWAY` | the running `millrace up` | URL of the gateway that `share`, `search`, `budget`, `dead` ask |
| `MILLRACE_TOKEN` | that of the running `millrace up` | What they sign in with at another gateway |
| `MILLRACE_CACHE` | the user's cache folder | Where Kafka and the registry are kept once they are downloaded |
| `MILLRACE_MAVEN_MIRROR` | Maven Central | Base URL of the Maven repository they are downloaded from |
"""


class _Shared(WorkerSettings, CoreSettings):
    """What agents have in common with others."""


SECTIONS: tuple[tuple[str, type[BaseSettings], type[BaseSettings] | None], ...] = (
    ("Every service", ServiceSettings, None),
    ("The gateway and the agents", CoreSettings, ServiceSettings),
    ("The agents and the ledger", WorkerSettings, ServiceSettings),
    ("Every agent", StageSettings, _Shared),
    ("media_agent", MediaSettings, StageSettings),
    ("transcribe_agent", TranscribeSettings, StageSettings),
    ("summarize_agent", SummarizeSettings, StageSettings),
    ("embed_agent", EmbedSettings, StageSettings),
    ("cost_ledger", LedgerSettings, WorkerSettings),
    ("api_gateway", GatewaySettings, CoreSettings),
)


def variables(name: str, field: FieldInfo) -> str:
    """The variable of a setting, and its aliases."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        names = [str(choice) for choice in alias.choices if str(choice).isupper()]
        return ", ".join(f"`{choice}`" for choice in names)
    return f"`MILLRACE_{name.upper()}`"


def default(field: FieldInfo) -> str:
    """What holds when nothing is set."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=False)
    return "" if value is None or value == "" else f"`{value}`"


def rows(settings: type[BaseSettings], base: type[BaseSettings] | None) -> Iterator[str]:
    """One table row per setting that the class adds to its base, or has another default for."""
    known = base.model_fields if base is not None else {}
    for name, field in settings.model_fields.items():
        if name not in known or known[name].default != field.default:
            text = (field.description or "").replace("|", "\\|")
            yield f"| {variables(name, field)} | {default(field)} | {text} |"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, settings, base in SECTIONS:
        table = "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *rows(settings, base)])
        parts.append(f"## {title}\n\n{table}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page())
