"""What a plan warns of: one sentence each, what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from headway.jobs.journal import Header
from headway.jobs.place import is_taken
from headway.jobs.plan_rows import RowsRead
from headway.policy import volatile
from headway.policy.prefix_cache import PrefixRules
from headway.prompts.merge import MergedTask
from headway.prompts.output import TOKENS_MIN
from headway.prompts.task import Task
from headway.report.plan_figures import OutputTokens
from headway.wire.prices import Rates

__all__ = ["Checked", "journal_warnings", "warnings_of"]

_BOUND_FAR = 4.0
"""A bound so many times the observed p99 costs rate: limits are charged by the bound."""
_SHORT_OF = 0.5
"""A prefix of at least this share of the provider's minimum is worth a word."""
_BEHIND_MIN = 200
"""So many tokens of fixed text behind a column are worth a word."""


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the warnings are about."""

    task: Task
    read: RowsRead
    rates: Rates | None
    rules: PrefixRules | None
    output: OutputTokens
    prefix_tokens: int
    fixed_tokens: int
    """Of the prompt without any column."""
    marks: bool
    """Whether breakpoints would be set, where the provider's cache wants them."""


def warnings_of(one: Checked) -> Iterator[str]:
    """All that is worth a word, the gravest first."""
    task, read, rates, output = one.task, one.read, one.rates, one.output
    if rates is None and len(read.models) > 1:
        yield "rows name several models, so this plan has no dollars; a run counts them, and keeps --budget"
    elif rates is None:
        yield f"the price of {task.model} is unknown, so dollars are, too, and --budget cannot hold; check its name"
    elif read.too_long_count:
        named = ", ".join(f"{row:,}" for row in read.too_long)
        more = (
            f" and {read.too_long_count - len(read.too_long):,} more"
            if read.too_long_count > len(read.too_long)
            else ""
        )
        rows = f"row{'s' * (read.too_long_count > 1)} {named}{more}"
        yield (
            f"{rows} would not fit the model's window of {rates.context_window:,} tokens with the answer's bound "
            "(estimated); shorten them, or take a model with a larger one"
        )
    if read.unreadable:
        rows = f"{read.unreadable:,} row{'s' * (read.unreadable > 1)}"
        yield f"{rows} cannot be read and will stand in the output with their error; the run says which"
    yield from _other_requests(task, read)
    if output.bound is None:
        if task.columns or read.unbounded:
            yield (
                f"nothing bounds the answers' length, so there is no most that this can cost; set max_output_tokens in "
                f"{task.where}"
            )
    elif output.p99 is not None and output.bound > max(_BOUND_FAR * output.p99, 2 * TOKENS_MIN):
        yield (
            f"max_output_tokens is {output.bound:,} while 99 of 100 such answers had at most {output.p99:,.0f} tokens; "
            "providers charge their limits by the bound, so a lower one lets more requests through"
        )
    yield from _prefix(one)


def _other_requests(task: Task, read: RowsRead) -> Iterator[str]:
    """Where a run asks something else than the one request for each row that is counted here."""
    if read.cut_rows and task.first is None:
        rows = f"{read.cut_rows:,} row{'s are' if read.cut_rows > 1 else ' is'}"
        yield f"{rows} cut to [context] of {task.where}: {read.cut_tokens:,} tokens are left out, and not in this plan"
    elif read.cut_rows:
        rows = f"{read.cut_rows:,} row{'s have' if read.cut_rows > 1 else ' has'}"
        yield (
            f"{rows} columns that are summarised first ([context] of {task.where}): what that takes, "
            f"{read.cut_tokens:,} tokens and more, is not in this plan, and a run pays for it"
        )
    if isinstance(task, MergedTask) and task.merge.mode == "separate" and len(task.names) > 1:
        yield (
            f"this plan is of one request a row, as batches ask; online and at flex, {task.where} takes "
            f"{len(task.names)} separate ones, each with all of the row: so many times the requests and their input"
        )


def journal_warnings(out: Path | None, journal: Path | None, origin: str, *, fresh: bool) -> Iterator[str]:
    """What stands in the way of a run that writes there."""
    if out is None or journal is None or fresh:
        return
    if not journal.exists():
        if is_taken(out):
            yield f"{out} exists and no journal is beside it, so a run would refuse to start; overwrite it with --fresh"
        return
    try:
        with journal.open("rb") as lines:
            header = msgspec.json.decode(lines.readline(), type=Header)
    except (OSError, msgspec.DecodeError):
        return  # the run says what is wrong with it
    if header.origin and origin and header.origin != origin:
        yield f"{journal} holds answers of {header.origin}, so that a run at {origin} would refuse to start"


def _prefix(one: Checked) -> Iterator[str]:
    """Whether the provider's prompt cache can help, and what keeps it from it."""
    rules, prefix, behind = one.rules, one.prefix_tokens, one.fixed_tokens - one.prefix_tokens
    if rules is None or one.read.requests < 2:
        return
    if behind >= _BEHIND_MIN and one.fixed_tokens >= rules.tokens_min:
        found = one.read.volatile
        if found is not None:
            yield volatile.warning(found, where="the prompt", tokens_after=behind)
        else:
            yield (
                f"about {behind:,} tokens of fixed text stand behind the first column, where the provider's prompt "
                "cache cannot reuse them; move the columns to the end of the prompt"
            )
    elif _SHORT_OF * rules.tokens_min <= prefix < rules.tokens_min:
        yield (
            f"the fixed beginning of about {prefix:,} tokens is under the {rules.tokens_min:,} from which the provider "
            "caches it; some more there, such as examples, would make all of it cheaper"
        )
    elif prefix >= rules.tokens_min and rules.marked and not one.marks:
        yield (
            f"the fixed beginning of about {prefix:,} tokens could be read from the provider's prompt cache; "
            'set prompt_cache = "auto"'
        )
