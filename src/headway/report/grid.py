"""Tables on the terminal: no lines, only gaps."""

from __future__ import annotations

from rich.table import Table

__all__ = ["grid"]


def grid(header: str = "", *, gap: int = 2) -> Table:
    """An empty table.

    Args:
        header: Style of its head; "" for no head.
        gap: Columns of space between its own.
    """
    return Table(box=None, show_header=bool(header), header_style=header, pad_edge=False, padding=(0, gap, 0, 0))
