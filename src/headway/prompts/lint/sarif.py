"""Findings as SARIF 2.1.0, which editors and CI show beside the lines.

Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0"; GitHub, "SARIF support for code
scanning" (which fields have to be there for its annotations).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import quote

from headway.prompts.lint.findings import TIERS, Finding, Tier
from headway.prompts.lint.registry import RULES

__all__ = ["sarif_of"]

_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Final[dict[Tier, str]] = {"auto": "warning", "suggest": "note", "never": "warning"}


def sarif_of(findings: Sequence[Finding], *, version: str) -> dict[str, Any]:
    """The log file's tree.

    Args:
        findings: What was found, in one run.
        version: Headway's.
    """
    rules = [
        {
            "id": rule.id,
            "name": rule.name,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.reason},
            "help": {"text": f"{rule.reason} Tier {rule.tier}: {TIERS[rule.tier]}."},
            "defaultConfiguration": {"level": _LEVELS[rule.tier]},
            "properties": {"tags": ["performance", "prompt"], "tier": rule.tier},
        }
        for rule in RULES
    ]
    places = {rule.id: at for at, rule in enumerate(RULES)}
    driver = {"name": "headway lint", "semanticVersion": version, "rules": rules}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(one, places[one.rule]) for one in findings],
            }
        ],
    }


def _result(finding: Finding, place: int) -> dict[str, Any]:
    where = finding.where
    told = "".join((finding.rule, where.file, where.key, finding.quote or finding.message))
    return {
        "ruleId": finding.rule,
        "ruleIndex": place,
        "level": _LEVELS[finding.tier],
        "message": {"text": finding.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(PurePath(where.file).as_posix())},
                    "region": {
                        "startLine": where.line,
                        "startColumn": where.column,
                        "endLine": max(where.end_line, where.line),
                        "endColumn": where.end_column,
                    },
                }
            }
        ],
        "partialFingerprints": {"headwayLint/v1": blake2b(told.encode(), digest_size=8).hexdigest()},
        "properties": {
            "tier": finding.tier,
            "tokensSaved": finding.tokens_saved,
            "dollarsPer1000Calls": finding.dollars_per_1000,
            "msSaved": finding.ms_saved,
        },
    }
