"""What is spent, what may be, and how the ledger decides."""

from __future__ import annotations

from typing import Final

from scripts.grafana.panels import Ask, Choice, Limit, Row, bars, board, graph, quantiles, stat

ACCOUNT: Final = '{account=~"$account"}'
BUDGET: Final = "{{account}} {{scope}} {{window}}"
OF_THE_CAP: Final = [Limit(0.5, "yellow"), Limit(0.8, "orange"), Limit(1, "red")]

NOW: Final = Row(
    "Now",
    [
        stat(
            "Spent in an hour",
            "What calls of the last 60 minutes really cost.",
            "currencyUSD",
            Ask("sum(increase(ml_cost_dollars_total[1h]))", "an hour"),
            width=6,
        ),
        stat(
            "Spent in a day",
            "What calls of the last 24 hours really cost.",
            "currencyUSD",
            Ask("sum(increase(ml_cost_dollars_total[24h]))", "a day"),
            width=6,
        ),
        stat(
            "Open holds",
            "Calls that were granted money and are neither settled nor released.",
            "short",
            Ask("sum(millrace_ledger_open_holds)", "holds"),
            width=6,
        ),
        stat(
            "Refused in an hour",
            "Holds that the ledger refused; the work is parked.",
            "short",
            Ask("sum(increase(ml_budget_exceeded_total[1h]))", "refusals"),
            width=6,
            limits=[Limit(1, "orange")],
        ),
        bars(
            "Budgets",
            "Part of each cap that is settled, held or unconfirmed, in the present window.",
            "percentunit",
            Ask(f"account:ml_budget_usage_ratio:max{ACCOUNT}", BUDGET),
            width=12,
            limits=OF_THE_CAP,
            most=1,
        ),
        bars(
            "Left",
            "US dollars that can still be granted in the present window.",
            "currencyUSD",
            Ask(f"min by (account, scope, window) (ml_budget_remaining_dollars{ACCOUNT})", BUDGET),
            width=12,
        ),
    ],
)

BUDGETS: Final = Row(
    "Budgets",
    [
        graph(
            "Used",
            "Part of each cap; the lines are those of the alerts.",
            "percentunit",
            Ask(f"account:ml_budget_usage_ratio:max{ACCOUNT}", BUDGET),
            limits=OF_THE_CAP,
        ),
        graph(
            "Left",
            "US dollars that can still be granted.",
            "currencyUSD",
            Ask(f"min by (account, scope, window) (ml_budget_remaining_dollars{ACCOUNT})", BUDGET),
        ),
        graph(
            "Vectors",
            "Per cent of the caps of embedding.",
            "percent",
            Ask(
                f"max by (account, window) (ml_vector_budget_usage_percentage{ACCOUNT})",
                "{{account}} {{window}}",
            ),
            limits=[Limit(50, "yellow"), Limit(80, "orange"), Limit(100, "red")],
        ),
        graph(
            "Refused",
            "Holds that the ledger refused, by stage and the cap that did not do.",
            "short",
            Ask("sum by (stage, cap) (increase(ml_budget_exceeded_total[$__rate_interval]))", "{{stage}}: {{cap}}"),
        ),
        graph(
            "The ledger's alerts",
            "By kind, and the part of the cap that was reached.",
            "short",
            Ask(
                "sum by (kind, percent) (increase(millrace_ledger_alerts_total[$__rate_interval]))",
                "{{kind}} {{percent}} %",
            ),
        ),
    ],
)

SPEND: Final = Row(
    "Spend",
    [
        graph(
            "By stage",
            "US dollars within the hour before.",
            "currencyUSD",
            Ask("sum by (stage) (increase(ml_cost_dollars_total[1h]))", "{{stage}}"),
            stacked=True,
        ),
        graph(
            "By model",
            "US dollars within the hour before.",
            "currencyUSD",
            Ask("sum by (model) (increase(ml_cost_dollars_total[1h]))", "{{model}}"),
            stacked=True,
        ),
        graph(
            "A job",
            "US dollars that a job which was done has cost, on average of the hour before.",
            "currencyUSD",
            Ask(
                "sum by (stage) (increase(ml_cost_dollars_total[1h]))"
                ' / (sum by (stage) (increase(ml_tasks_total{state="done"}[1h])) > 0)',
                "{{stage}}",
            ),
        ),
    ],
)

LEDGER: Final = Row(
    "Ledger",
    [
        graph(
            "Decisions",
            "By what was asked and how it was answered.",
            "ops",
            Ask(
                "sum by (op, outcome) (rate(millrace_ledger_decisions_total[$__rate_interval]))",
                "{{op}}: {{outcome}}",
            ),
        ),
        graph(
            "Commit",
            "To decide a batch and commit it.",
            "s",
            *quantiles("millrace_ledger_commit_seconds", parts=(0.5, 0.95, 0.99)),
        ),
        graph(
            "Open holds",
            "By partition of the ledger.",
            "short",
            Ask("sum by (partition) (millrace_ledger_open_holds)", "{{partition}}"),
        ),
        graph(
            "Journal",
            "Decisions, and those that are in PostgreSQL: the journal follows within a second or so.",
            "ops",
            Ask("sum(rate(millrace_ledger_decisions_total[$__rate_interval]))", "decided"),
            Ask("sum(rate(millrace_ledger_journal_entries_total[$__rate_interval]))", "in the journal"),
        ),
        graph(
            "Taking a partition over",
            "Reading its rows, before it decides.",
            "s",
            Ask("max by (partition) (millrace_ledger_load_seconds)", "{{partition}}"),
        ),
    ],
)

BOARD: Final = board(
    "costs",
    "Millrace: costs and budgets",
    "What is spent, what may be, and how the ledger decides.",
    [NOW, BUDGETS, SPEND, LEDGER],
    [Choice("account", "Account", "ml_budget_usage_ratio")],
)
