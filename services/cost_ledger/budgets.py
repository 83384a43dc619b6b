"""The budgets file, and which of its caps the log does not know yet. Pure but for reading the file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from millrace.contracts.events import DEFAULT_ACCOUNT, CapMode, CostRequest
from millrace.errors import ConfigurationError
from millrace.money import LARGEST, MicroUSD, micro_usd
from services.cost_ledger.decide import BUDGETS_FILE, LAST_CAP_AT_START
from services.cost_ledger.evolve import FILED
from services.cost_ledger.rows import TOTAL, CapKey, CapRow
from services.cost_ledger.windows import WINDOWS

PACKAGED: Final = Path(__file__).parent / "budgets.toml"


class _Entry(BaseModel):
    """One scope's table: dollars as strings, because a TOML float is not an amount of money."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hour: str | None = None
    day: str | None = None
    mode: CapMode = "enforce"

    @field_validator("hour", "day")
    @classmethod
    def _an_amount(cls, value: str | None) -> str | None:
        if value is not None and micro_usd(value) > LARGEST:
            raise ValueError("a cap is at most ten million dollars")
        return value


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    default: dict[str, _Entry] = {}
    accounts: dict[str, dict[str, _Entry]] = {}


class Cap(BaseModel):
    """What the file says about one window; `amount` None: no limit."""

    model_config = ConfigDict(frozen=True)

    amount: MicroUSD | None
    mode: CapMode


def load(path: Path) -> dict[CapKey, Cap]:
    """The caps of a budgets file.

    The default account's `total` is always among them, without a limit if the file does not name one: its day cap,
    set last, tells the ledger that the caps are in.

    :raises ConfigurationError: the file cannot be read or says something that is not a budget.
    """
    try:
        content = _File.model_validate(tomllib.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigurationError(f"The budgets file {path} cannot be read: {exc}") from exc
    except ValidationError as exc:
        where = "; ".join(f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in exc.errors())
        raise ConfigurationError(f"The budgets file {path} is not valid: {where}") from exc
    caps: dict[CapKey, Cap] = {}
    accounts: Mapping[str, Mapping[str, _Entry]] = {
        **content.accounts,
        DEFAULT_ACCOUNT: {
            **content.accounts.get(DEFAULT_ACCOUNT, {}),
            **content.default,
            TOTAL: content.default.get(TOTAL, _Entry()),
        },
    }
    for account, scopes in accounts.items():
        for scope, entry in scopes.items():
            for window in WINDOWS:
                text = getattr(entry, window)
                amount = None if text is None else micro_usd(text)
                caps[CapKey(account, scope, window)] = Cap(amount=amount, mode=entry.mode)
    return caps


def differences(
    filed: Mapping[CapKey, Cap], known: Mapping[CapKey, CapRow], *, owns: Callable[[str], bool], at: datetime
) -> list[CostRequest]:
    """Requests that bring a partition's log to what the file says; `default` is everywhere, accounts where they live.

    Compared is what the file said last, not the cap in force: a cap that a person set stays until the file changes.
    """
    wanted = {key: cap for key, cap in filed.items() if key.account == DEFAULT_ACCOUNT or owns(key.account)}
    gone = {
        key: Cap(amount=None, mode="enforce")
        for key, row in known.items()
        if key not in wanted and row.filed is not None
    }
    changed = [_set_cap(key, cap, at) for key, cap in (wanted | gone).items() if not _said(known.get(key), cap)]
    return sorted(changed, key=_is_last)


def _said(row: CapRow | None, cap: Cap) -> bool:
    return row is not None and (row.filed, row.filed_mode) == (cap.amount, cap.mode)


def _is_last(request: CostRequest) -> bool:
    return (request.account, request.scope, request.window) == tuple(LAST_CAP_AT_START)


def _set_cap(key: CapKey, cap: Cap, at: datetime) -> CostRequest:
    amount = "none" if cap.amount is None else str(cap.amount)
    return CostRequest(
        request_id=FILED + ":".join((*key, amount, cap.mode)),
        op="set-cap",
        account=key.account,
        scope=key.scope,
        window=key.window,
        cap_micro_usd=cap.amount,
        mode=cap.mode,
        requested_by=BUDGETS_FILE,
        requested_at=at,
    )
