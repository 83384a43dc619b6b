"""`python -m services.cost_ledger`: the parts of the ledger that MILLRACE_LEDGER_ROLE names."""

from typing import NoReturn

from millrace.startup import close_to_others, settings_or_exit
from services.cost_ledger.core import run_core
from services.cost_ledger.settings import LedgerSettings


def main() -> NoReturn:
    """Run until stopped, and exit."""
    close_to_others()
    settings = settings_or_exit(LedgerSettings)
    if settings.ledger_role == "admission":
        raise SystemExit(run_core(settings))
    # Late: Faust and PostgreSQL's client are nothing to the core alone.
    from millrace.stream.worker import run  # noqa: PLC0415
    from services.cost_ledger.app import build  # noqa: PLC0415

    run(build(settings))


if __name__ == "__main__":
    main()
