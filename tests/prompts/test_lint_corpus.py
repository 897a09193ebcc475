"""Lint on prompts with labelled faults: what it finds, and what its fixes leave alone."""

from __future__ import annotations

import re
import tomllib

import pytest

from headway.prompts.lint.guard import negations_of, numbers_of
from headway.prompts.lint.registry import RULES
from headway.prompts.lint.run import fixed, lint_task
from headway.prompts.lint.source import read_source
from tests.prompts.lint_score import CORPUS, auto, labels, score

FILES = sorted(labels())
CLEAN = [name for name, label in labels().items() if not label["expect"]]


def test_corpus_is_large_enough():
    """At least 60 prompts, 20 of them held out, 20 of them without any fault."""
    parts = [label["part"] for label in labels().values()]
    assert len(FILES) >= 60
    assert parts.count("held_out") >= 20
    assert len(CLEAN) >= 20
    assert {file.name for file in CORPUS.iterdir()} == {*FILES, "labels.json"}


@pytest.mark.parametrize("part", ["", "held_out"])
def test_auto_tier_is_exact(part: str):
    """Precision of at least 0.95 and recall of at least 0.9, on all prompts and on those held out."""
    total = auto(score(part))
    assert total.precision is not None
    assert total.recall is not None
    assert total.precision >= 0.95
    assert total.recall >= 0.9


def test_labels_name_rules():
    """A label that no rule can meet would only make recall look worse, or nothing."""
    known = {rule.id for rule in RULES}
    assert {rule for label in labels().values() for rule in label["expect"]} <= known


@pytest.mark.parametrize("name", CLEAN)
def test_clean_prompts_stay_as_they_are(name: str):
    """Poems, tables, YAML, quotations, code and plain good prompts: nothing to fix."""
    source = read_source(CORPUS / name)
    assert fixed(source).source.raw == source.raw


@pytest.mark.parametrize("name", FILES)
def test_fixes_mend_all_and_only_once(name: str):
    """After --fix no automatic finding is left, a second time changes nothing, and tasks still load."""
    source = read_source(CORPUS / name)
    done = fixed(source)
    assert not done.skipped
    assert not [one for one in lint_task(done.source) if one.tier == "auto"]
    assert fixed(done.source).source.raw == done.source.raw
    if name.endswith(".toml"):
        comments = re.findall(r"#.*$", source.raw, re.MULTILINE)
        assert re.findall(r"#.*$", done.source.raw, re.MULTILINE) == comments
        assert tomllib.loads(done.source.raw).keys() == tomllib.loads(source.raw).keys()


@pytest.mark.parametrize("name", FILES)
def test_fixes_keep_numbers_and_negations(name: str):
    """Every number, negation, column and code block that was there still is, at least once."""
    before, after = read_source(CORPUS / name), fixed(read_source(CORPUS / name)).source
    for old, new in zip(before.texts, after.texts, strict=True):
        assert set(numbers_of(old.text)) == set(numbers_of(new.text))
        assert set(negations_of(old.text)) == set(negations_of(new.text))
        kept = ("code", "column", "quote")
        assert [old.text[r.start : r.end] for r in old.regions if r.kind in kept[:2]] == [
            new.text[r.start : r.end] for r in new.regions if r.kind in kept[:2]
        ]
        quoted = {old.text[r.start : r.end] for r in old.regions if r.kind == "quote"}
        assert quoted == {new.text[r.start : r.end] for r in new.regions if r.kind == "quote"}


@pytest.mark.parametrize("rule", ["HW208", "HW303", "HW402"])
def test_rules_that_only_the_corpus_shows_are_found(rule: str):
    """Each labelled fault, and nothing else."""
    found = score()[rule]
    assert (found.extra, found.missed) == (0, 0)
    assert found.right
