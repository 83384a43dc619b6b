"""How services are started on the stack."""

from __future__ import annotations

from pathlib import Path

from millrace.contracts.catalog import Catalog
from millrace.embedded.readyfile import Addresses, Ready, RunningPart
from millrace.embedded.services import GATEWAY, ServicePlan, programs, service_environment

ADDRESSES = Addresses("127.0.0.1:9092", "http://127.0.0.1:8081", "postgresql://millrace:secret@127.0.0.1/millrace")
OWN = "a secret of the gateway's own that nobody else has"


def environment(name: str, **caller: str) -> dict[str, str]:
    return service_environment(name, caller, addresses=ADDRESSES, blobs=Path("/d/blobs"), port=25_001, secret=OWN)


def test_a_service_gets_the_stacks_addresses_over_those_of_the_caller_and_the_rest_of_the_callers_environment() -> (
    None
):
    found = environment("media_agent", MILLRACE_KAFKA="elsewhere:9092", MILLRACE_LOG_LEVEL="DEBUG")
    assert found["MILLRACE_KAFKA"] == "127.0.0.1:9092"
    assert found["MILLRACE_LOG_LEVEL"] == "DEBUG"
    assert found["MILLRACE_OPS_PORT"] == "25001"


def test_the_gateway_serves_its_readiness_beside_its_api() -> None:
    found = environment(GATEWAY)
    assert (found["MILLRACE_HTTP_HOST"], found["MILLRACE_HTTP_PORT"]) == ("127.0.0.1", "25001")
    assert "MILLRACE_OPS_PORT" not in found


def test_the_gateway_alone_gets_the_secret_that_tokens_are_signed_with() -> None:
    assert {name for name in programs(Catalog.load()) if OWN in environment(name).values()} == {GATEWAY}


def test_no_command_line_holds_a_secret() -> None:
    for name, module in programs(Catalog.load()).items():
        plan = ServicePlan(name, module, 25_001, Path("/d/logs/x.log"), environment(name))
        command = plan.supervised(lambda _: None, lambda: None).command
        assert not any("secret" in argument for argument in command.argv)
        assert "secret" in command.environment["MILLRACE_POSTGRES"]


def test_the_ready_file_leaves_out_what_does_not_run() -> None:
    ready = Ready(Addresses("127.0.0.1:9092", "", ""), {"kafka": RunningPart(7)})
    assert ready.document() == {"kafka": "127.0.0.1:9092", "pids": {"kafka": {"pid": 7, "ops": ""}}}
