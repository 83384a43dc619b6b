"""For Faust's own command: `faust -A services.cost_ledger.worker worker`."""

from millrace.stream.worker import load_settings
from services.cost_ledger.app import build
from services.cost_ledger.settings import LedgerSettings

app = build(load_settings(LedgerSettings))
