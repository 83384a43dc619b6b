"""For Faust's own command: `faust -A services.cost_ledger.worker worker`."""

from millrace.startup import settings_or_exit
from services.cost_ledger.app import build
from services.cost_ledger.settings import LedgerSettings

app = build(settings_or_exit(LedgerSettings))
