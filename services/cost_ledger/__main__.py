"""`python -m services.cost_ledger`."""

from millrace.startup import settings_or_exit
from millrace.stream.worker import run
from services.cost_ledger.app import build
from services.cost_ledger.settings import LedgerSettings

if __name__ == "__main__":
    run(build(settings_or_exit(LedgerSettings)))
