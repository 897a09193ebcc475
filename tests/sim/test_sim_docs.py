"""The page about the simulator says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headway.sim import Quality
from headway.sim.batch_settings import BATCH_FAULTS
from headway.sim.faults import FAULTS
from headway.sim.profiles import PROFILES, REGIONS

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text("utf-8")


def rows(name: str) -> list[list[str]]:
    """The cells of a marked table."""
    table = PAGE.split(f"<!-- {name} -->\n")[1].split("<!-- end -->")[0]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.strip().split("\n")]


def test_the_table_of_models_is_the_profiles():
    """Every model, with the figures it is played by."""
    listed = {
        name: (tier, float(start), float(prefill), float(token), float(spread))
        for name, tier, start, prefill, token, spread in rows("profiles")
    }
    assert listed == {
        name: (
            p.tier, p.start_s, pytest.approx(p.prefill_s * 1e6), pytest.approx(p.token_s * 1e3), p.spread,
        )
        for name, p in PROFILES.items()
    }  # fmt: skip


def test_the_table_of_error_rates_is_the_default_quality():
    """Every rate, with its default."""
    quality = Quality()
    for name, default, _ in rows("quality"):
        value = getattr(quality, name)
        shown = ", ".join(f"{tier} {rate:g}" for tier, rate in value.items()) if "tier" in name else f"{value:g}"
        assert default == shown
    assert [name for name, _, _ in rows("quality")] == list(quality.__struct_fields__)


def test_every_batch_fault_is_explained():
    """In the table, in the order of the code."""
    assert tuple(kind for kind, _ in rows("batch faults")) == BATCH_FAULTS


def test_every_fault_and_region_is_explained():
    """None is missing."""
    for fault in FAULTS:
        assert f"`{fault}`" in PAGE
    for region, round_trip_s in REGIONS.items():
        assert re.search(rf"\b{region} {round_trip_s * 1_000:g}\b", PAGE)
