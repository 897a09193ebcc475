"""What `make live` says at its end: a line for every missing key, a table of what was asked, and what it cost."""

from __future__ import annotations

import pytest

from tests.live.providers import PROVIDERS, PURSE, STARTED, TOTAL_USD


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not STARTED:
        return
    write = terminalreporter.write_line
    for provider in PROVIDERS:
        if provider.missing:
            write(f"skipped {provider.name}: {provider.missing}")
    if PURSE.rows:
        write(f"{'provider':10} {'format':11} {'door':13} {'model':26} {'outcome':8} {'s':>6} {'tokens':>9} dollars")
    for row in PURSE.rows:
        dollars = "unknown" if row.dollars is None else f"{row.dollars:.7f}"
        write(
            f"{row.provider:10} {row.kind:11} {row.door:13} {row.model:26} {row.outcome:8} {row.total_s:6.2f} "
            f"{row.tokens:>9} {dollars}"
        )
    write(f"spent: {TOTAL_USD - PURSE.left_usd:.6f} dollars of {TOTAL_USD:.2f}")
