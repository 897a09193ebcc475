"""Query parameters, read strictly: what is not known, comes twice or is out of bounds is refused, and said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Final
from urllib.parse import parse_qsl

from headway.gateway.request import Refused
from headway.insight.documents import Filters

__all__ = ["FILTERS", "ID", "MONTH", "NAME", "PAGED", "PARAMETERS", "Query", "read"]

PARAMETERS_MAX: Final = 20
TEXT_CHARS_MAX: Final = 200
WINDOW_S = (60.0, 604_800.0)
LIMIT = (1, 200)
ID: Final = "[0-9A-Za-z][0-9A-Za-z._-]{0,99}"
NAME: Final = "[0-9A-Za-z_][0-9A-Za-z._~-]{0,199}"
"""Of a pipeline or a run, in a path: the gateway knows no escapes there. Other names go into the query."""
MONTH: Final = "[0-9]{4}-(?:0[1-9]|1[0-2])"
_NUMBER: Final = re.compile(r"[0-9]{1,7}(?:\.[0-9]{1,20})?")

FILTERS: Final = ("window_s", "key", "model", "route", "upstream")
PAGED: Final = (*FILTERS, "outcome", "before", "limit")
_TEXT: Final = {"type": "string", "maxLength": TEXT_CHARS_MAX}
PARAMETERS: Final[Mapping[str, Mapping[str, object]]] = {
    "window_s": {"type": "number", "minimum": WINDOW_S[0], "maximum": WINDOW_S[1], "default": 900},
    "key": _TEXT,
    "model": _TEXT,
    "route": _TEXT,
    "upstream": _TEXT,
    "outcome": {"type": "string", "enum": ["failed", "ok"]},
    "before": {"type": "string", "pattern": f"^{ID}$"},
    "limit": {"type": "integer", "minimum": LIMIT[0], "maximum": LIMIT[1], "default": 50},
    "month": {"type": "string", "pattern": f"^{MONTH}$"},
    "pipeline": {**_TEXT, "minLength": 1},
}
"""All there are, as the API's own description has them."""


class Query:
    """What was asked.

    Args:
        values: By name; all of them known.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def text(self, name: str) -> str:
        """As it is; "" where it is not there."""
        return self._values.get(name, "")

    @property
    def limit(self) -> int:
        """How many."""
        text = self._values.get("limit", "50")
        if not (text.isascii() and text.isdigit() and len(text) <= 4 and LIMIT[0] <= int(text) <= LIMIT[1]):
            raise _wrong("limit", f"a whole number from {LIMIT[0]} to {LIMIT[1]}")
        return int(text)

    @property
    def filters(self) -> Filters:
        """Which calls count."""
        text = self._values.get("window_s", "900")
        window_s = float(text) if _NUMBER.fullmatch(text) else 0.0
        if not (isfinite(window_s) and WINDOW_S[0] <= window_s <= WINDOW_S[1]):
            raise _wrong("window_s", f"seconds, from {WINDOW_S[0]:.0f} to {WINDOW_S[1]:.0f}")
        # To the second, so that pages that were opened side by side share what is worked out.
        return Filters(window_s=float(round(window_s)), **{name: self.text(name) for name in FILTERS[1:]})


def read(raw: bytes, allowed: tuple[str, ...]) -> Query:
    """A query as it was sent.

    Raises:
        Refused: With 422, where something is wrong with it.
    """
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict")
    except ValueError:  # not ASCII, not UTF-8, or too many
        raise Refused(422, "the query cannot be read", "invalid_query") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            known = ", ".join(allowed) or "none"
            raise Refused(422, f"there is no parameter {name[:40]!r} here; there are: {known}", "unknown_parameter")
        if name in values:
            raise Refused(422, f"the parameter {name} came twice", "invalid_parameter")
        if len(value) > TEXT_CHARS_MAX:
            raise _wrong(name, f"at most {TEXT_CHARS_MAX} characters")
        values[name] = value
    if values.get("outcome", "ok") not in ("failed", "ok"):
        raise _wrong("outcome", "failed or ok")
    if "before" in values and not re.fullmatch(ID, values["before"]):
        raise _wrong("before", "a call's id")
    if "month" in values and not re.fullmatch(MONTH, values["month"]):
        raise _wrong("month", "a year and a month such as 2026-11")
    query = Query(values)
    _ = query.limit, query.filters  # that they can be read
    return query


def _wrong(name: str, what: str) -> Refused:
    return Refused(422, f"the parameter {name} is to be {what}", "invalid_parameter")
