"""The project's services as child processes: which there are, their environment, when they are ready."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.contracts.catalog import Catalog
from millrace.embedded.ports import LOOPBACK
from millrace.embedded.probe import answers_ok
from millrace.embedded.process import Command
from millrace.embedded.readyfile import Addresses, RunningPart
from millrace.embedded.signing import SECRET_VARIABLE
from millrace.embedded.supervise import Report, Supervised

GATEWAY = "api_gateway"
READY_WITHIN_S = 120.0
# A service drains for up to 20 s (MILLRACE_DRAIN_S) and then needs a moment to leave its groups.
STOP_WITHIN_S = 30.0


def programs(catalog: Catalog) -> dict[str, str]:
    """Every service by its name, with its program as `python -m` takes it: ledger, agents of the stages, gateway."""
    agents = {f"{stage}_agent": entry.module for stage, entry in catalog.stages.items()}
    return {"cost_ledger": "services.cost_ledger", **agents, GATEWAY: "services.api_gateway"}


@dataclass(frozen=True)
class ServicePlan:
    """One service: its program, the port of its ops endpoints (the gateway serves them beside its API), log and
    environment.
    """

    name: str
    module: str
    port: int
    log: Path
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        """Base URL of /readyz, /healthz and /metrics."""
        return f"http://{LOOPBACK}:{self.port}"

    def supervised(self, report: Report, restarted: Callable[[], None]) -> Supervised:
        """The service, to be started; for the arguments see `Supervised`."""
        command = Command(
            name=self.name,
            argv=(sys.executable, *isolation(Path.cwd()), "-m", self.module),
            environment=self.environment,
            log=self.log,
            stop_within_s=STOP_WITHIN_S,
        )
        return Supervised(
            command,
            lambda: answers_ok(f"{self.url}/readyz"),
            ready_within_s=READY_WITHIN_S,
            report=report,
            restarted=restarted,
        )

    def running(self, service: Supervised) -> RunningPart | None:
        """How it is announced, while it runs."""
        return None if service.pid is None else RunningPart(service.pid, self.url)


def service_environment(
    name: str, caller: Mapping[str, str], *, addresses: Addresses, blobs: Path, port: int, secret: str
) -> dict[str, str]:
    """The caller's environment with what the stack decides.

    Secrets (the database's password, the gateway's own) go this way and never on a command line, which every user
    can read.
    """
    ours = {
        "MILLRACE_KAFKA": addresses.kafka,
        "MILLRACE_REGISTRY": addresses.registry,
        "MILLRACE_POSTGRES": addresses.postgres,
        "MILLRACE_BLOBS": str(blobs),
        "MILLRACE_INSTANCE": name,  # one worker a service: when it is started again it need not wait for itself
        "PYTHONUNBUFFERED": "1",
    }
    if name == GATEWAY:
        listens = {"MILLRACE_HTTP_HOST": LOOPBACK, "MILLRACE_HTTP_PORT": str(port), SECRET_VARIABLE: secret}
    else:
        listens = {"MILLRACE_OPS_HOST": LOOPBACK, "MILLRACE_OPS_PORT": str(port)}
    return {**caller, **ours, **listens}


def isolation(cwd: Path) -> tuple[str, ...]:
    """`-P` unless our services come from the working directory: a user's own `services` package must not be run."""
    package = importlib.util.find_spec("services")
    if package is None or package.origin is None or Path(package.origin).is_relative_to(cwd):
        return ()
    return ("-P",)
