"""Lint's suggestions on rows: those that hold together are kept, and the one that does harm is found."""

from __future__ import annotations

import re

import pytest

from headway import ConfigError
from headway.measure.rewrite.settings import TrySettings
from headway.measure.rewrite.verify import suggested, verify, with_findings
from headway.prompts.lint.findings import Change, Edit, Finding, Place
from headway.prompts.lint.source import read_source, source_of
from headway.testing import virtual_run

from .rewrite_world import World, prompt_named, rows_of, task_text

TICKETS = prompt_named("tickets")
COURTESY = "Thank you very much for your help!"
WORK = "Your work is really important to us."
FEWER = Change(key="output.labels", value=["billing", "technical", "access"])


def finding(source, *, cut="", change=None, tier="suggest", rule="HW205"):
    """A finding that takes a text out of the system text, or changes a setting."""
    text = source.system.text
    fix = Edit(key="system", start=text.index(cut), end=text.index(cut) + len(cut)) if cut else None
    return Finding(
        rule=rule,
        name="test",
        message="m",
        reason="r",
        tier=tier,
        where=Place(file=source.file),
        fix=fix,
        change=change,
    )


@pytest.fixture
def source(tmp_path):
    """The tickets task in a file, whose text is the only place with the labels."""
    file = tmp_path / "tickets.toml"
    file.write_text(
        task_text(TICKETS, instruct=False).changed({"system": f"{TICKETS.system} Return only the team."}).text
    )
    return read_source(file)


def verified(source, findings, count=72, **settings):
    """What holds, on virtual time."""
    world = World()
    how = TrySettings(**{"margin": 0.15, **settings})
    return virtual_run(lambda: verify(source, findings, rows_of(TICKETS, count), how, engines=world.engines))


def test_what_holds_together_is_kept_at_once(source):
    """Two harmless suggestions take two comparisons, and both stand in the file."""
    good = [finding(source, cut=COURTESY), finding(source, change=Change(key="max_output_tokens", value=64))]
    done = verified(source, good)
    assert [one.kept for one in done.verdicts] == [True, True]
    assert COURTESY not in done.after.text
    assert done.after.value("max_output_tokens") == 64
    assert "# the model" in done.after.text
    assert done.comparison.not_inferior
    assert done.to_dict()["suggestions"][0]["kept"] is True


def test_the_one_that_does_harm_is_found(source):
    """Of three, the one that takes a label away is named; the others hold."""
    findings = [finding(source, cut=COURTESY), finding(source, change=FEWER), finding(source, cut=WORK)]
    done = verified(source, findings)
    assert [one.kept for one in done.verdicts] == [True, False, True]
    assert "worse" in done.verdicts[1].why
    assert done.after.value("output.labels") == list(TICKETS.labels)


def test_only_suggestions_with_a_change_are_tried(source):
    """What is automatic or told only is none of verify's business; a suggestion without a change is named as one."""
    able = finding(source, cut=COURTESY)
    others = [
        finding(source, cut=COURTESY, tier="auto"),
        finding(source, tier="suggest"),
        finding(source, cut=COURTESY, tier="never"),
    ]
    assert suggested([*others, able]) == [able]
    done = verified(source, others)
    assert [(one.tried, one.kept, one.why) for one in done.verdicts] == [
        (False, False, "no fix to try: it takes a person")
    ]
    assert done.dollars == 0
    assert "nothing to verify" in done.sentence


def test_every_suggestion_that_was_listed_has_a_verdict(source):
    """Those that cannot be tried stand among the others, in the order in which they were found."""
    findings = [finding(source, cut=COURTESY), finding(source), finding(source, cut=COURTESY, tier="never")]
    done = verified(source, findings)
    assert [one.finding for one in done.verdicts] == findings[:2]
    assert done.sentence.startswith("1 of 1 suggestions hold. 1 more has no fix to try.")
    assert re.search(r"Quality: [+-]\d.* to [+-]\d.* points\.$", done.sentence)
    assert done.to_dict()["suggestions"][1]["tried"] is False


def test_what_few_rows_say_carries_its_interval_or_is_open(source):
    """How much worse, on how many rows, between what; where rows cannot tell, the word is open."""
    few = verified(source, [finding(source, change=FEWER)], count=30)
    assert re.match(r"open on 20 rows that were held out; it may be [\d.]+ points worse", few.verdicts[0].why)
    assert few.sentence == "0 of 1 suggestions hold, and more rows or money may tell."
    more = verified(source, [finding(source, change=FEWER)], count=72)
    assert re.match(r"[\d.]+ points worse on 24 rows \(-[\d.]+ to [+-][\d.]+ points\)", more.verdicts[0].why)


def test_money_ends_it(source):
    """With a cap of next to nothing all of them are left as they are."""
    done = verified(source, [finding(source, cut=COURTESY)], usd_max=0.0005)
    assert done.after is None
    assert done.open
    assert done.dollars <= 0.0005


def test_a_prompt_alone_cannot_be_verified():
    """It takes a task to ask."""
    plain = source_of("p.txt", "Thank you. Classify it.", "text")
    with pytest.raises(ConfigError, match="only a task file"):
        verified(plain, [])


def test_edits_and_settings_go_into_one_file(source):
    """Spans are those of the text that was linted, however many there are."""
    both = [
        finding(source, cut=COURTESY),
        finding(source, cut=WORK),
        finding(source, change=Change(key="temperature", value=0.0)),
    ]
    text = with_findings(source, both)
    assert COURTESY not in text.value("system")
    assert WORK not in text.value("system")
    assert text.value("temperature") == 0.0
