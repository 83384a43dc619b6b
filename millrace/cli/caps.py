"""`millrace budget set`, `unconfirmed` and `reconcile`: what people decide about money, through the ledger's log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Group, RenderableType
from rich.text import Text

from millrace.cli.client import Client
from millrace.cli.connection import GatewayOption, connect
from millrace.cli.console import compact, plain, print_json, show
from millrace.cli.exits import one_sentence
from millrace.cli.names import a_scope
from millrace.contracts.api import AccountName, Answer
from millrace.contracts.budget_api import (
    BudgetScope,
    Cap,
    CapChange,
    CapRequest,
    Reconciled,
    ReconcileRequest,
    UnconfirmedAnswer,
)
from millrace.contracts.events import DEFAULT_ACCOUNT, CapMode, Window
from millrace.errors import ConfigurationError
from millrace.money import format_usd, written_usd

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]
NO_LIMIT = "none"
_ACCOUNTS = TypeAdapter[str](AccountName)


def an_account(name: str | None) -> str | None:
    """The name of an account as it was typed; for options.

    :raises typer.BadParameter: it cannot be one.
    """
    try:
        return None if name is None else _ACCOUNTS.validate_python(name)
    except ValidationError as exc:
        raise typer.BadParameter("an account is up to 64 letters, digits, and . _ - behind the first.") from exc


class CapChanges(Answer):
    """What one `millrace budget set` changed."""

    changes: list[CapChange]


def set_caps(
    scope: Annotated[
        BudgetScope,
        typer.Argument(callback=a_scope, help="A stage that spends, search, or total: an account's scopes together"),
    ],
    account: Annotated[
        str, typer.Option(callback=an_account, help="Whose; those of default hold for every account without its own")
    ] = DEFAULT_ACCOUNT,
    hour: Annotated[
        str | None, typer.Option(metavar="$", help="US dollars by the hour, or none for no limit")
    ] = None,
    day: Annotated[str | None, typer.Option(metavar="$", help="US dollars by the day, or none for no limit")] = None,
    mode: Annotated[
        CapMode | None, typer.Option(help="Refuse above the caps, or grant and say so; as it is by default")
    ] = None,
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change caps while everything runs; parked work that fits a raised one goes on at once."""
    caps: dict[Window, str | None] = {}
    if hour is not None:
        caps["hour"] = _cap(hour, "--hour")
    if day is not None:
        caps["day"] = _cap(day, "--day")
    if not caps and mode is None:
        raise typer.BadParameter("give --hour, --day or --mode: there is nothing to change.")
    with one_sentence(), connect(gateway) as client:
        wanted = caps or _own_caps(client, scope, account)
        changes = [
            client.set_cap(scope, CapRequest(account=account, window=window, cap=cap, mode=mode))
            for window, cap in wanted.items()
        ]
    if as_json:
        print_json(CapChanges(changes=changes))
    else:
        show(change_report(changes))


def show_unconfirmed(
    account: Annotated[str | None, typer.Option(callback=an_account, help="Of this account only")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Calls at most")] = 100,
    cursor: Annotated[str | None, typer.Option(help="Go on where the list before ended")] = None,
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Calls that may have been billed; they stay charged until reconciled."""
    with one_sentence(), connect(gateway) as client:
        answer = client.unconfirmed(account=account, limit=limit, cursor=cursor)
    if as_json:
        print_json(answer)
    else:
        show(unconfirmed_report(answer))


def reconcile(
    request_id: Annotated[
        str, typer.Argument(help="Request id of the call, as `millrace budget unconfirmed` has it")
    ],
    actual: Annotated[str, typer.Option(metavar="$", help="What was billed, in US dollars; 0: nothing was")],
    account: Annotated[
        str | None, typer.Option(callback=an_account, help="Whose; needed only where two accounts have this id")
    ] = None,
    gateway: GatewayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Settle an unconfirmed call at what the provider billed."""
    wish = ReconcileRequest(actual=_dollars(actual, "--actual"), account=account)
    if not request_id:
        raise typer.BadParameter("give the request id of a call.")
    with one_sentence(), connect(gateway) as client:
        answer = client.reconcile(request_id, wish)
    if as_json:
        print_json(answer)
    else:
        show(plain(reconciled_sentence(answer)))


def change_report(changes: Sequence[CapChange]) -> Group:
    """One line a window: what was in force, and what is."""
    lines: list[RenderableType] = []
    for change in changes:
        now = change.now
        before = "no cap" if change.before is None else _shown(change.before)
        lines.append(plain(f"{now.scope} by the {now.window}, account {now.account}: {before} → {_shown(now)}"))
        if change.woken:
            lines.append(Text(f"{change.woken} parked {'stage goes' if change.woken == 1 else 'stages go'} on."))
    return Group(*lines)


def unconfirmed_report(answer: UnconfirmedAnswer) -> Group:
    """One line a call, oldest first."""
    if not answer.calls:
        return Group(Text("No call is unconfirmed."))
    table = compact("since (UTC)", "account", "scope", "amount", "request id", right=("amount",))
    for call in answer.calls:
        amount = format_usd(call.amount_micro_usd)
        table.add_row(
            f"{call.since:%Y-%m-%d %H:%M}", plain(call.account), plain(call.scope), amount, plain(call.request_id)
        )
    parts: list[RenderableType] = [table]
    if answer.next is not None:
        parts.append(plain(f"There are more: millrace budget unconfirmed --cursor {answer.next}"))
    return Group(*parts)


def reconciled_sentence(answer: Reconciled) -> str:
    """What became of the call."""
    above = f", {format_usd(answer.overrun_micro_usd)} above it" if answer.overrun_micro_usd else ""
    return (
        f"{answer.request_id} is settled at {format_usd(answer.actual_micro_usd)}; "
        f"{format_usd(answer.amount_micro_usd)} had been held{above}."
    )


def _own_caps(client: Client, scope: str, account: str) -> dict[Window, str | None]:
    """An account's caps as they are, to be set again in another mode.

    :raises ConfigurationError: it has none in this scope.
    """
    caps = [cap for cap in client.caps(account=account).caps if (cap.account, cap.scope) == (account, scope)]
    found = {cap.window: format_usd(cap.cap_micro_usd) for cap in caps if cap.cap_micro_usd is not None}
    if not found:
        raise ConfigurationError(
            f"Account {account} has no cap of its own for {scope}: give --hour or --day as well."
        )
    return dict(found)


def _cap(text: str, option: str) -> str | None:
    return None if text.lower() == NO_LIMIT else _dollars(text, option)


def _dollars(text: str, option: str) -> str:
    try:
        return format_usd(written_usd(text))
    except ValueError as exc:
        raise typer.BadParameter(f"{exc}.", param_hint=option) from exc


def _shown(cap: Cap) -> str:
    amount = "no limit" if cap.cap_micro_usd is None else format_usd(cap.cap_micro_usd)
    return f"{amount} (only warns)" if cap.mode == "warn" and cap.cap_micro_usd is not None else amount
