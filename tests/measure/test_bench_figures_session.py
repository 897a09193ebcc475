"""What a bench asks, what it may cost, and where it stops; on virtual time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headway import ConfigError, Engine, InputError
from headway.config import load_settings
from headway.errors import ConnectFailed
from headway.measure.bench.questions import (
    Question,
    preflight,
    question_of,
    requests_of,
    targets_of,
    worst_case_usd,
)
from headway.measure.bench.run_types import Load, Slo
from headway.measure.bench.self_check import RAW
from headway.measure.bench.session import Done, Limits, Measuring, most_usd
from headway.testing import FakeProvider, Step, virtual_run

SETTINGS = load_settings({"base_url": "https://api.openai.com/v1"})


def engine(provider: Any) -> Engine:
    return Engine(handler=provider, base_url="http://x/v1", seed=1, **RAW)


def measured(provider: Any, loads: list[Load], limits: Limits, question: Question | None = None) -> Done:
    async def main() -> Done:
        async with engine(provider) as opened:
            measuring = Measuring(opened, targets_of(question or Question(), ["gpt-4o-mini"]), limits)
            await measuring.ahead()
            await measuring.measure(loads)
            return measuring.done

    return virtual_run(main)


@pytest.mark.parametrize("api", ["responses", "chat", "messages"])
def test_each_api_is_asked_in_its_own_words(api):
    """A stream, bounded, the prompt in its place."""
    [target] = targets_of(Question(prompt="Hi", api=api, output_tokens_max=50), ["m"])
    body = json.loads(target.body(0))
    assert (body["model"], body["stream"]) == ("m", True)
    bounds = {"responses": "max_output_tokens", "chat": "max_completion_tokens", "messages": "max_tokens"}
    assert body[bounds[api]] == 50
    assert "Hi" in json.dumps(body.get("input") or body["messages"])
    assert body.get("store", False) is False


def test_a_task_is_asked_about_its_rows_in_turn(tmp_path):
    """Row 0, 1, 0, ...; whole answers where no stream is wished; a missing column is told beforehand."""
    rows = tmp_path / "rows.csv"
    rows.write_text("text\nfirst\nsecond\n")
    question = question_of("Say {text}", None, str(rows), "chat", 20, stream=False)
    [target] = targets_of(question, ["m"])
    asked = [json.loads(target.body(i))["messages"][-1]["content"] for i in range(3)]
    assert asked == ["Say first", "Say second", "Say first"]
    assert "stream" not in json.loads(target.body(0))
    [plain] = targets_of(question_of("Sort it.", None, str(rows), "chat", 20, stream=False), ["m"])
    said = [message["content"] for message in json.loads(plain.body(1))["messages"]]
    assert said == ["Sort it.", "second"]  # without a {column} it stands before the row's text
    with pytest.raises(InputError, match="nope"):
        targets_of(question_of("Say {nope}", None, str(rows), None, None, stream=True), ["m"])


def test_a_prompt_may_stand_in_a_file(tmp_path):
    """Its name is given in the text's place."""
    file = tmp_path / "p.txt"
    file.write_text("What is it?")
    assert question_of(str(file), None, None, None, None, stream=True).prompt == "What is it?"
    assert question_of("p" * 5000, None, None, None, None, stream=True).prompt == "p" * 5000


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("Write {{x}}, please", "Write {x}, please"),
        ('Like {"a": 1}', 'Like {"a": 1}'),
        ('Like {"a": {"b": 1}}', 'Like {"a": {"b": 1}}'),
        ("either/or, at a/b.txt", "either/or, at a/b.txt"),
    ],
)
def test_braces_that_name_no_column_are_text(given, sent):
    """Pairs of them are one, as with rows; JSON stays what it is."""
    assert question_of(given, None, None, None, None, stream=True).prompt == sent


@pytest.mark.parametrize(
    "said", [("p", "t.toml", None), (None, "t.toml", None), (None, None, "rows.csv"), ("  ", None, None)]
)
def test_what_is_asked_is_said_once(said):
    """A prompt or a task, and rows for a task."""
    with pytest.raises((ConfigError, InputError)):
        question_of(*said, None, None, stream=True)


def test_a_server_that_knows_the_bound_by_its_older_name_is_asked_by_it():
    """The first request is refused for the field's name, and the next ones carry the other."""
    refused = b'{"error":{"message":"Unrecognized: max_completion_tokens","type":"invalid_request_error"}}'
    provider = FakeProvider([Step(status=400, body=refused), 200])

    async def main() -> Any:
        async with engine(provider) as opened:
            [target] = targets_of(Question(api="chat", output_tokens_max=9, prompt='"max_completion_tokens":'), ["m"])
            return await preflight(opened, target)

    target, _ = virtual_run(main)
    body = json.loads(target.body(0))
    assert body["max_tokens"] == 9
    assert body["messages"][0]["content"] == '"max_completion_tokens":'


@pytest.mark.parametrize("status", [401, 404, 422])
def test_a_refusal_ends_it_before_anything_is_measured(status):
    """A wrong key would fail every request: one is enough to know."""
    provider = FakeProvider([status])
    with pytest.raises(ConfigError, match="gpt-4o-mini cannot be measured"):
        measured(provider, [Load(count=5)], Limits(usd_max=1.0, check=False))
    assert provider.calls == 1


def test_a_server_that_is_not_there_ends_it_before_anything_is_measured():
    """One try is enough to know."""
    provider = FakeProvider([ConnectFailed("nobody is there")])
    with pytest.raises(ConnectFailed, match="gpt-4o-mini cannot be measured"):
        measured(provider, [Load(count=5)], Limits(usd_max=1.0, check=False))
    assert provider.calls == 1


def test_the_worst_case_is_known_beforehand():
    """One ahead, warm-up and what counts, at the bound; without a bound or a price nobody knows."""
    [target] = targets_of(Question(output_tokens_max=100, prompt="x" * 400), ["gpt-4o-mini"])
    [usd] = worst_case_usd([target], SETTINGS)
    assert usd == pytest.approx(100 * 0.6e-6 + 110 * 0.15e-6, rel=0.2)
    limits = Limits(usd_max=1.0, request_usd=(usd,))
    assert most_usd([Load(count=10, warmup_count=2), Load(count=5)], limits) == pytest.approx(usd * 18)
    assert most_usd([Load(duration_s=5.0)], limits) is None
    unbounded = targets_of(Question(), ["gpt-4o-mini"]) + targets_of(Question(output_tokens_max=9), ["no-such-model"])
    assert worst_case_usd(unbounded, SETTINGS) == [None, None]


def test_requests_are_counted_for_every_kind_of_load():
    """Open loops by their rate, traces by their length, closed ones by their count."""
    assert requests_of(Load(rate_per_s=10, duration_s=3, warmup_s=1)) == 40
    assert requests_of(Load(rate_per_s=10, count=7)) == 7
    assert requests_of(Load(arrivals="trace", offsets_s=(0.0, 1.0), count=9, warmup_count=1)) == 3
    assert requests_of(Load(arrivals="trace", offsets_s=(0.0, 1.0, 5.0), duration_s=2.0, warmup_count=1)) == 3
    assert requests_of(Load(duration_s=3)) is None


def test_the_money_cap_ends_a_run_that_has_no_end_of_its_own():
    """A minute of requests at $0.001 each, at most: it stops below the cap, and says so."""
    provider = FakeProvider([Step(delay_s=0.1, input_tokens=1_000_000, output_tokens=0)])
    limits = Limits(usd_max=1.0, request_usd=(0.15,), check=False)
    done = measured(
        provider, [Load(duration_s=60.0), Load(count=1)], limits, Question(output_tokens_max=16, stream=False)
    )
    spent = sum(probe.dollars for runs in done.loads for run in runs for probe in run.probes)
    assert 0.5 < spent <= 0.85
    assert len(done.loads) == 1
    assert any("--max-usd was reached at 1 at once" in note for note in done.notes)
    assert any("left out" in note for note in done.notes)


def test_the_search_for_a_rate_ends_before_the_cap_could_be_passed():
    """Each try has 100 requests of a cent at most: with $3 there are two, warm-up and all, and it says why it ends."""
    provider = FakeProvider([Step(delay_s=0.1, input_tokens=60_000, output_tokens=0)])
    limits = Limits(usd_max=3.0, request_usd=(0.01,), check=False)

    async def main() -> tuple[Done, float]:
        async with engine(provider) as opened:
            question = Question(stream=False, output_tokens_max=16)
            measuring = Measuring(opened, targets_of(question, ["gpt-4o-mini"]), limits)
            await measuring.find(Slo(e2e_s=1.0), start_per_s=5.0, trial_s=1.0)
            return measuring.done, measuring.spent_usd

    done, spent_usd = virtual_run(main)
    found = done.found["gpt-4o-mini"]
    assert len(found.trials) == 2
    assert "another try could have passed the cap" in found.sentence
    assert spent_usd == pytest.approx(0.009 * provider.calls)
    assert spent_usd <= 3.0


def test_no_rate_is_sought_where_one_request_alone_breaks_the_slo():
    """Half a second each against 100 ms: five requests, and an answer."""
    provider = FakeProvider([Step(delay_s=0.5)])

    async def main() -> Done:
        async with engine(provider) as opened:
            measuring = Measuring(opened, targets_of(Question(stream=False), ["m"]), Limits(usd_max=1.0, check=False))
            await measuring.find(Slo(e2e_s=0.1), start_per_s=1.0, trial_s=1.0)
            return measuring.done

    found = virtual_run(main).found["m"]
    assert found.rate_per_s is None
    assert "not even one request at a time" in found.sentence
    assert provider.calls == 5
