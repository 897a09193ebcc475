"""Control headers as they are read: every good one, and nothing but a ConfigError for the rest."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway import ConfigError, Tags
from headway.engine.inbound import NO_CONTROL, Control, read_control

NAMES = ("cache", "priority", "deadline", "sample", "namespace", "tags", "other")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("cache", "off", Control(cache="off")),
        ("priority", "low", Control(priority=-1)),
        ("priority", "-17", Control(priority=-17)),
        ("deadline", " 0.5 ", Control(deadline_s=0.5)),
        ("sample", "any text, at all", Control(sample="any text, at all")),
        ("namespace", "team-a.v2", Control(namespace="team-a.v2")),
        ("tags", "run=r1, step=s1,session=x y", Control(tags=Tags(run="r1", step="s1", session="x y"))),
        ("tags", "", NO_CONTROL),
    ],
)
def test_each_header_sets_its_own(name, value, expected):
    """What is read is what was said, and nothing else changes."""
    assert read_control([(f"headway-{name}", value)]) == expected


def test_all_together():
    """Several headers make one control."""
    pairs = [("headway-cache", "refresh"), ("headway-priority", "high"), ("headway-sample", "3")]
    assert read_control(pairs) == Control(cache="refresh", priority=1, sample="3")
    assert read_control([]) is NO_CONTROL


@given(st.lists(st.tuples(st.sampled_from(NAMES).map("headway-".__add__), st.text(max_size=300)), max_size=6))
def test_any_value_is_read_or_refused_by_name(pairs):
    """Hostile values never raise anything else, and what is accepted is within its bounds."""
    try:
        control = read_control(pairs)
    except ConfigError:
        return
    assert control.cache in (None, "on", "off", "refresh")
    assert abs(control.priority) < 10**6
    assert 0 < control.deadline_s <= inf
    assert len(control.sample) <= 256
    assert len(control.namespace) <= 256
