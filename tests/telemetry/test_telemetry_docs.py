"""docs/telemetry.md keeps its word: its tables are those of the code.

``python tests/telemetry/test_telemetry_docs.py --write`` brings them up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import get_args

import yaml

from headway.engine.said import _fields
from headway.telemetry.families import FAMILIES, GAUGES
from headway.types import Outcome, Trace

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "telemetry.md"
WRITE = "run: python tests/telemetry/test_telemetry_docs.py --write"

EVERY_LINE = {
    "timestamp": "ISO 8601, UTC",
    "level": "`debug`, `info` or `warning`",
    "event": 'what it is: "call throttled", "attempt server_error", "reload"',
    "logger": "`headway`",
}
MEANINGS = {
    "id": "the call's, as in `headway-id` and the call log",
    "flight": "of the call that asked the provider: who joined it has another `id`",
    "route": "path",
    "model": "as it was asked for",
    "upstream": "configured name, or address",
    "outcome": "see the labels above",
    "status": "HTTP",
    "error_code": "the provider's word, or ours",
    "latency_s": "from hand-over to the end",
    "ttft_s": "to the first content, of streams",
    "wait_s": "of it, our own wait",
    "input_tokens": "",
    "output_tokens": "",
    "dollars": "what it cost; absent where no price is known",
    "saved_dollars": "what it would have cost",
    "cache": "where the answer came from",
    "attempts": "of a call: how many tries",
    "attempt": "of a try: which one, from 0",
    "key": "id of the gateway's key; without keys, a digest of the credential",
    "run": "of a pipeline",
    "step": "of a pipeline, with its index",
    "trace_id": "with `otel`, or from the request's `traceparent` with it",
}


def tables() -> dict[str, str]:
    """What stands between the markers, by their name."""
    families = [
        f"| `{family.name}` | {family.kind} | {', '.join(f'`{name}`' for name in family.labels) or '-'} | {family.help} |"
        for family in (*FAMILIES, *GAUGES)
    ]
    groups = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())["groups"]
    alerts = [
        f"| `{rule['alert']}` | {rule['labels']['severity']} | {rule['annotations']['description']} |"
        for group in groups
        for rule in group["rules"]
        if "alert" in rule
    ]
    fields = [f"| `{name}` | {said} |" for name, said in {**EVERY_LINE, **MEANINGS}.items()]
    return {
        "families": "\n".join(("| metric | kind | labels | what |", "|---|---|---|---|", *families)),
        "alerts": "\n".join(("| alert | severity | what it is, what to look at |", "|---|---|---|", *alerts)),
        "fields": "\n".join(("| field | what |", "|---|---|", *fields)),
    }


def renewed(text: str) -> str:
    for name, table in tables().items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text, count = re.subn(
            pattern, lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text, flags=re.DOTALL
        )
        assert count == 1, name
    return text


def test_its_tables_are_those_of_the_code():
    text = PAGE.read_text("utf-8")
    assert text == renewed(text), WRITE


def test_every_field_of_a_line_has_its_meaning():
    trace = Trace("call", "id", 0.0, 0.0)
    assert set(MEANINGS) == set(_fields(trace))


def test_every_outcome_and_setting_is_named():
    text = PAGE.read_text("utf-8")
    for outcome in get_args(Outcome):
        assert f"`{outcome}`" in text
    for name in ("metrics", "metrics_keys", "otel", "log_format", "log_level"):
        assert f"`{name}`" in text


def test_every_attribute_that_spans_have_is_in_the_table():
    source = (ROOT / "src" / "headway" / "telemetry" / "tracing.py").read_text()
    table = PAGE.read_text("utf-8").partition("<!-- attributes -->")[2].partition("<!-- end -->")[0]
    named = set(re.findall(r'"((?:gen_ai|headway|http|server|url|error)\.[a-z_.]+)"', source))
    events = {"headway.sent", "headway.first_byte", "headway.first_content", "headway.link", "headway.key"}
    short = {name for name in named if f".{name.partition('gen_ai.usage.')[2]}`" in table}
    assert {name for name in named - events - short if f"`{name}`" not in table} == set()


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python tests/telemetry/test_telemetry_docs.py --write")
    PAGE.write_text(renewed(PAGE.read_text("utf-8")), "utf-8")
