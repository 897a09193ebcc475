"""Compress: chosen on some rows, confirmed on others, bounded in money; and what is not confirmed is not kept."""

from __future__ import annotations

import asyncio
import re

import pytest

from headway import ConfigError, InputError
from headway.measure.rewrite.candidates import Candidate, by_rules, fixed_tokens
from headway.measure.rewrite.choosing import choose
from headway.measure.rewrite.compressing import compress, diff_of, output_of
from headway.measure.rewrite.page import compressed_page
from headway.measure.rewrite.settings import TrySettings, divided
from headway.measure.rewrite.writing import Writer
from headway.testing import virtual_run

from .rewrite_world import World, prompt_named, rows_of, task_text

TICKETS = prompt_named("tickets")


def shortened(world, text, count=60, *, writer=None, **settings):
    """What compress makes of it, on virtual time."""
    how = TrySettings(**{"margin": 0.15, **settings})
    rows = rows_of(TICKETS, count)
    return virtual_run(lambda: compress(text, rows, how, writer=writer, engines=world.engines))


def tried(world, text, values, count=60, **settings):
    """What becomes of one candidate, whatever the guard would say of it."""
    how = TrySettings(**{"margin": 0.15, **settings})
    one = Candidate(name="planted", how="by hand", values=values, tokens=1)
    rows = rows_of(TICKETS, count)
    parts = divided(rows, seed=0, needed=["text"])
    return virtual_run(lambda: choose(text, [one], parts, how, engines=world.engines))


def test_the_shortest_that_holds_is_kept():
    """On a provider that makes no mistakes the shortest version holds, and the rest is not tried."""
    text = task_text(TICKETS)
    done = shortened(World(), text)
    assert done.after is not None
    assert done.tokens_after == min(one.tokens for one in by_rules(text))
    assert done.tokens_after < 0.8 * done.tokens_before == 0.8 * fixed_tokens(text)
    assert [one.stage for one in done.tried] == ["kept"] + ["untried"] * (len(done.tried) - 1)
    assert done.comparison.not_inferior
    assert "# the model" in done.after.text
    assert done.stopped == "found"
    assert 0 < done.dollars < 1


def test_nothing_is_written_by_itself(tmp_path):
    """The file that was read is as it was."""
    file = tmp_path / "t.toml"
    file.write_text(task_text(TICKETS).text)
    text = task_text(TICKETS).read(file)
    shortened(World(), text)
    assert file.read_text() == text.text


def test_a_draft_that_lost_its_labels_is_turned_away_on_rows():
    """Where the guard is passed by, the rows to choose with tell."""
    text = task_text(TICKETS, instruct=False)
    done = tried(World(), text, {"system": "Return only the team, one of: billing, technical."})
    assert done.kept is None
    assert done.tried[0].stage == "choose"
    assert "points worse" in done.tried[0].why


def test_a_prompt_that_does_not_work_is_no_yardstick():
    """Everything would be as good as that: nothing is kept, and it is said why."""
    rows = [{**row, "expected": "nobody"} for row in rows_of(TICKETS, 60)]
    world = World()
    how = TrySettings(margin=0.15)
    done = virtual_run(lambda: compress(task_text(TICKETS), rows, how, engines=world.engines))
    assert done.after is None
    assert (done.stopped, done.open) == ("original", True)
    assert done.sentence == (
        "Nothing was kept: the original is right on 0% of 20 rows only, and a prompt that does not work cannot be the "
        "yardstick."
    )
    assert done.to_dict()["notes"] == [
        "See whether the prompt, the model and the column with right answers belong together."
    ]


def test_what_is_cancelled_says_how_far_it_was_and_what_it_took():
    """Ctrl-C in the middle of a comparison: the dollars of that one count."""
    said: list[tuple[str, float]] = []

    async def cut_short():
        how = TrySettings(margin=0.15)
        asking = compress(
            task_text(TICKETS),
            rows_of(TICKETS, 200),
            how,
            engines=World().engines,
            told=lambda line, dollars: said.append((line, dollars)),
        )
        running = asyncio.create_task(asking)
        await asyncio.sleep(8)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    virtual_run(cut_short)
    line, dollars = said[-1]
    assert re.fullmatch(r"rules: \w+( \w+)?: interrupted after \d+ of \d+ rows", line)
    assert 0 < dollars < 1


def test_shorter_text_that_costs_more_is_turned_away():
    """Answers that have to be repaired are right in the end, and dear."""
    done = tried(World(), task_text(TICKETS), {"system": "Say something nice.", "output.instruct": False})
    assert done.tried[0].stage == "choose"
    assert done.tried[0].why.startswith(("it costs more (+", "it is slower (+"))
    assert done.tried[0].why.endswith(" rows)")


def test_the_guard_stands_before_the_rows():
    """A writer whose draft drops a negation costs its own tokens and no row."""
    harmful = TICKETS.good.replace("Never send a ticket", "Send a ticket")
    world = World(harmful)
    plain = task_text(TICKETS).changed({"system": TICKETS.good.replace("Route each ticket", "Route every ticket")})
    done = shortened(world, plain, writer=Writer(drafts_max=1))
    refused = [one for one in done.tried if one.candidate.written]
    assert [one.stage for one in refused] == ["guard"]
    assert done.dollars_writing > 0


def test_a_good_draft_competes_with_the_rules():
    """What a model wrote is kept when it is shorter and holds."""
    text = task_text(TICKETS)
    short = (
        "Route to:\n- billing: money, such as charges, invoices, refunds, prices\n- technical: errors, crashes or bugs in the "
        "app\n- access: passwords, logins, locked accounts\n- delivery: parcels and tracking\n\nNever send a ticket to billing "
        "if it only asks what a product costs: such tickets belong to delivery. Ticket mentions a lawyer: always access. "
        "Tickets older than 30 days: billing. Do not use a team that is not in the list."
    )
    done = shortened(World(short), text, writer=Writer(drafts_max=1, model="gpt-5.4"))
    written = next(one for one in done.tried if one.candidate.written)
    assert written.stage == "kept", written.why
    assert written.candidate.how.startswith("written by gpt-5.4")


def test_too_few_rows_leave_it_open():
    """With a small margin twenty rows prove nothing, and that is what is said."""
    done = shortened(World(quality=True), task_text(TICKETS), 24, margin=0.01)
    assert done.after is None
    assert done.open
    assert "open" in done.sentence


def test_the_money_is_kept_to():
    """A cap that one comparison uses up ends it, and nothing more is spent."""
    done = shortened(World(quality=True), task_text(TICKETS), margin=0.001, usd_max=0.02)
    assert done.dollars <= 0.02
    assert done.stopped == "money"
    assert done.after is None


def test_without_right_answers_there_is_nothing_to_verify():
    """It is said before anything is asked."""
    world = World()
    text = task_text(TICKETS).changed({"expected": None})
    with pytest.raises(ConfigError, match="nothing says what a right answer is"):
        shortened(world, text)
    assert world.asked == 0


def test_a_check_of_ones_own_will_do():
    """A checker takes the place of the column."""
    text = task_text(TICKETS).changed({"expected": None})
    done = shortened(World(), text, checker=lambda row, value, text: value in TICKETS.labels)
    assert done.after is not None


def test_a_dozen_rows_are_refused():
    """Below twenty rows nothing can be said about anything."""
    with pytest.raises(InputError, match="12 rows can be asked about"):
        shortened(World(), task_text(TICKETS), 12)


def test_rows_are_divided_without_overlap():
    """Every row is on one side, alike rows on the same one, and the seed decides."""
    rows = rows_of(TICKETS, 90) + rows_of(TICKETS, 30)
    choose_rows, confirm = divided(rows, seed=3, needed=["text"])
    assert len(choose_rows) + len(confirm) == 120
    assert not {row["text"] for row in choose_rows} & {row["text"] for row in confirm}
    assert len(choose_rows) <= 40
    assert divided(rows, seed=3, needed=["text"])[0] == choose_rows
    assert divided(rows, seed=4, needed=["text"])[0] != choose_rows


def test_the_report_is_small_and_escaped():
    """The page holds the candidates and the change, and nothing of a prompt is markup."""
    text = task_text(TICKETS).changed({"system": f"<b>Note</b> that. {TICKETS.system}"})
    done = shortened(World(), text)
    page = compressed_page(done, command="headway compress t.toml")
    assert len(page) < 500_000
    assert "<b>Note" not in page
    assert "rules: filler" in page
    assert diff_of(done.before, done.after).startswith("--- tickets.toml")
    assert output_of(done.after) == done.after.text
    assert done.to_dict()["kept"] is True
