"""Linting: rules over a source, edits into its text, and the file as it is with them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from headway.errors import ConfigError
from headway.prompts.lint.estimate import Estimate
from headway.prompts.lint.findings import Edit, Finding
from headway.prompts.lint.guard import refusal
from headway.prompts.lint.registry import chosen
from headway.prompts.lint.rule import Hit, Rule
from headway.prompts.lint.rules_calls import mergeable
from headway.prompts.lint.source import Source
from headway.prompts.toml_edit import Spelled

__all__ = ["Fixed", "apply", "edited", "fixed", "lint_task", "lint_together"]

ROUNDS_MAX: Final = 20
"""Rounds of automatic fixes; one fix can uncover the next, each makes the text shorter."""
_QUOTE_CHARS: Final = 60


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """A source after its automatic fixes."""

    source: Source
    applied: tuple[Finding, ...]
    skipped: tuple[str, ...]
    """A sentence for each fix that could not be made exactly."""


def lint_task(source: Source, *, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Finding]:
    """Every fault that the rules see in a source, in the order of the file.

    Args:
        source: From `read_source`, `source_of` or `log_source`.
        select: Ids, names or beginnings of ids ("HW1") of the rules that count; all when empty.
        ignore: Likewise, of those that do not.

    Raises:
        ConfigError: There is no such rule.
    """
    return _findings(source, chosen(select, ignore))


def lint_together(
    sources: Sequence[Source], *, select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> list[Finding]:
    """What is only seen in several sources side by side: tasks that one call could answer."""
    rules = [rule for rule in chosen(select, ignore) if rule.id == "HW502"]
    return [_finding(source, rule, hit, Estimate(source)) for rule in rules for source, hit in mergeable(sources)]


def apply(text: str, edits: Iterable[Edit]) -> str:
    """`text` with edits of one key made; of edits that overlap the first one counts, deletions add up."""
    pieces, at = [], 0
    for edit in _disjoint(edits):
        pieces += [text[at : edit.start], edit.replacement]
        at = edit.end
    return "".join([*pieces, text[at:]])


def edited(source: Source, edits: Iterable[Edit]) -> tuple[Source, list[str]]:
    """The source with edits made in its file's text, layout and comments as they were.

    Returns:
        The new source, and a sentence for every edit that the guard refused or that cannot be made exactly.
    """
    skipped: list[str] = []
    for text in source.texts:
        wanted = []
        for edit in (one for one in edits if one.key == text.key):
            why = refusal(text, edit)
            if why:
                skipped.append(f"{_at(source, edit)}: not changed, for {why}")
            else:
                wanted.append(edit)
        if not wanted:
            continue
        made = _rewritten(source, text.key, wanted)
        if made is None:  # together they do not fit; one by one most will
            skipped.append(f"{_at(source, wanted[0])}: not changed, for {text.key} cannot be edited in place exactly")
        else:
            source = made
    return source, skipped


def fixed(source: Source, *, select: Sequence[str] = (), ignore: Sequence[str] = ()) -> Fixed:
    """The source with all automatic fixes made, over and over until none is left."""
    rules = [rule for rule in chosen(select, ignore) if rule.tier == "auto"]
    applied: list[Finding] = []
    skipped: list[str] = []
    for _ in range(ROUNDS_MAX):
        found = [one for one in _findings(source, rules) if one.tier == "auto" and one.fix is not None]
        after, skipped = edited(source, [one.fix for one in found if one.fix is not None])
        if after.raw == source.raw:
            break
        applied += found
        source = after
    return Fixed(source=source, applied=tuple(applied), skipped=tuple(skipped))


def _findings(source: Source, rules: Iterable[Rule]) -> list[Finding]:
    estimate = Estimate(source)
    found = [_finding(source, rule, hit, estimate) for rule in rules for hit in rule.find(source)]
    return sorted(found, key=lambda one: (one.where.line, one.where.column, one.rule))


def _finding(source: Source, rule: Rule, hit: Hit, estimate: Estimate) -> Finding:
    texts = {text.key: text for text in source.texts}
    fix = hit.fix
    if fix is not None and fix.key in texts and refusal(texts[fix.key], fix):
        fix = None
    tier = hit.tier or rule.tier
    if tier == "auto" and fix is None:
        tier = "suggest"
    if hit.key in texts:
        where = source.place(hit.key, hit.start, hit.end)
        quote = " ".join(texts[hit.key].text[hit.start : hit.end].split())
    else:
        where, quote = source.setting_place(hit.key), ""
    saved = estimate.of(hit, fix)
    return Finding(
        rule=rule.id,
        name=rule.name,
        message=hit.message,
        reason=rule.reason,
        tier=tier,
        where=where,
        quote=quote if len(quote) <= _QUOTE_CHARS else quote[: _QUOTE_CHARS - 3] + "...",
        tokens_saved=saved.tokens,
        output_tokens_saved=saved.output_tokens,
        dollars_per_1000=saved.dollars_per_1000,
        ms_saved=saved.ms,
        fix=fix,
        change=hit.change,
    )


def _at(source: Source, edit: Edit) -> str:
    return f"{source.file}:{source.place(edit.key, edit.start, edit.end).line}"


def _rewritten(source: Source, key: str, edits: list[Edit]) -> Source | None:
    """The source with one text edited in its file; None where the file would not read as intended."""
    spelled = source.spelled.get(key)
    if spelled is None:
        return None
    raw = source.raw
    for start, end, new in sorted(_spans(spelled, edits), reverse=True):
        raw = raw[:start] + new + raw[end:]
    try:
        after = source.with_raw(raw)
    except (ConfigError, tomllib.TOMLDecodeError):
        return None
    was = {text.key: text.text for text in source.texts}
    wanted = {**was, key: apply(was[key], edits)}
    same = {text.key: text.text for text in after.texts} == wanted
    return after if same and _others(source.settings) == _others(after.settings) else None


def _others(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that no edit of a text may change: what is no text of ours."""
    return {
        key: value
        for key, value in settings.items()
        if key not in ("system", "prompt", "messages", "input", "instructions")
    }


def _spans(spelled: Spelled, edits: Iterable[Edit]) -> Iterator[tuple[int, int, str]]:
    """Edits as spans of the file: characters that stay keep their spelling, new ones are spelled as the string is."""
    for edit in _disjoint(edits):
        new, kept = edit.replacement, 0
        before = spelled.text[edit.start : edit.end]
        if _is_thinned(before, new):
            for index, char in enumerate(before, edit.start):
                if kept < len(new) and char == new[kept]:
                    kept += 1
                else:
                    yield spelled.starts[index], spelled.ends[index], ""
            continue
        yield spelled.starts[edit.start], spelled.ends[edit.end - 1], _spelled(new, spelled.quote)


def _disjoint(edits: Iterable[Edit]) -> Iterator[Edit]:
    """Edits in order, without overlaps: what is left of a deletion still counts."""
    at = 0
    for edit in sorted(edits, key=lambda one: (one.start, one.end)):
        left = edit
        if edit.start < at < edit.end and not edit.replacement:
            left = msgspec.structs.replace(edit, start=at)
        if at <= left.start < left.end:
            yield left
            at = left.end


def _is_thinned(before: str, after: str) -> bool:
    """Whether `after` is `before` with characters left away."""
    chars = iter(before)
    return all(char in chars for char in after)


def _spelled(text: str, quote: str) -> str:
    if quote in ("", "'", "'''"):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return escaped if quote == '"""' else escaped.replace("\n", "\\n").replace("\t", "\\t")
