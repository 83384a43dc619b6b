"""`python -m services.cost_ledger`."""

from millrace.stream.worker import load_settings, run
from services.cost_ledger.app import build
from services.cost_ledger.settings import LedgerSettings

if __name__ == "__main__":
    run(build(load_settings(LedgerSettings)))
