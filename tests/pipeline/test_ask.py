"""`headway.ask`: its text or its pieces, in three APIs; errors with the provider's own words; leaving it ends it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

import headway
from headway import BadReply, ConfigError, ConnectionLost, DeadlineExceeded, Engine, ProviderError, Tags
from headway.engine.question import Question
from headway.sim import SimSettings, serving
from headway.testing import FakeProvider, Step, virtual_run
from headway.types.scope import SCOPE, Scope

MODEL = "gpt-5.4-mini"
APIS = ["responses", "chat", "messages"]


def engine(provider, **settings):
    return Engine(handler=provider, **{"log": "off", "api_key": "k", "seed": 7, "log_level": "off"} | settings)


def asked(provider, prompt="Why?", **how):
    """The text, awaited."""

    async def main():
        async with engine(provider) as e:
            return await headway.ask(prompt, model=MODEL, engine=e, **how)

    return virtual_run(main)


def sent(provider):
    return msgspec.json.decode(provider.seen[-1].body)


@pytest.mark.parametrize("api", APIS)
def test_awaited_it_is_the_text(api):
    """The request is whole, not streamed, so that a failure at any byte can be tried again."""
    provider = FakeProvider([Step(text="one two three")])
    assert asked(provider, api=api, system="Be brief.", output_tokens_max=50) == "one two three"
    assert not provider.seen[0].view.stream
    assert provider.seen[0].view.output_tokens_max == 50


@pytest.mark.parametrize("api", APIS)
def test_iterated_it_is_its_pieces_as_they_come(api):
    """Each piece is there when the provider has said it."""
    provider = FakeProvider([Step(text="one two three", chunk_delay_s=1.0)])
    times = []

    async def main():
        async with engine(provider) as e:
            asking = headway.ask("Count.", model=MODEL, api=api, engine=e)
            async for piece in asking:
                times.append((piece, asyncio.get_running_loop().time()))
            return asking.trace, asking.cut

    trace, was_cut = virtual_run(main)
    assert [piece for piece, _ in times] == ["one ", "two ", "three"]
    assert times[0][1] < times[1][1] < times[2][1]
    assert (trace.outcome, trace.usage.output_tokens, was_cut) == ("ok", 2, False)
    assert provider.open == 0


def test_the_request_is_what_its_api_calls_it():
    """Instructions, bound, temperature, turns and schema, each in the words of its API."""
    provider = FakeProvider([Step(text="ok")])
    how = {"system": "Be brief.", "output_tokens_max": 50, "temperature": 0.5}
    asked(provider, **how)
    assert sent(provider) == {
        "model": MODEL, "input": "Why?", "store": False, "instructions": "Be brief.", "max_output_tokens": 50,
        "temperature": 0.5,
    }  # fmt: skip
    asked(provider, api="chat", **how)
    assert sent(provider) == {
        "model": MODEL, "max_completion_tokens": 50, "temperature": 0.5,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
    }  # fmt: skip
    asked(provider, api="messages", **how)
    assert sent(provider) == {
        "model": MODEL, "max_tokens": 50, "temperature": 0.5, "system": "Be brief.",
        "messages": [{"role": "user", "content": "Why?"}],
    }  # fmt: skip
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    asked(provider, turns, api="messages")
    assert sent(provider) == {"model": MODEL, "messages": turns, "max_tokens": 4096}
    asked(provider, turns)
    assert sent(provider)["input"] == turns


def test_a_schema_is_enforced_or_asked_for():
    """By the API where it can, else in the instructions."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    provider = FakeProvider([Step(text='{"a":1}')])
    assert asked(provider, schema=schema) == '{"a":1}'
    assert sent(provider)["text"]["format"]["schema"] == schema
    asked(provider, schema=schema, api="chat")
    assert sent(provider)["response_format"]["type"] == "json_schema"
    asked(provider, schema=schema, api="messages", system="Be brief.")
    assert sent(provider)["system"].startswith("Be brief.\n\nReturn only JSON that fits this schema: {")


def test_a_provider_that_knows_the_bound_by_its_other_name_is_asked_again():
    """Compatible servers often refuse the newer one."""
    refusal = Step(status=400, body=b'{"error":{"message":"unknown field max_completion_tokens"}}')
    provider = FakeProvider([refusal, Step(text="ok")])
    assert asked(provider, api="chat", output_tokens_max=50) == "ok"
    assert sent(provider)["max_tokens"] == 50


@pytest.mark.parametrize("iterated", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ConfigError), (401, ConfigError), (404, ConfigError), (429, ProviderError), (500, ProviderError)],
)
def test_an_answer_that_is_an_error_is_raised_with_its_words(status, kind, iterated):
    """By who can mend it; the trace says what was tried."""
    provider = FakeProvider([Step(status=status, body=b'{"error":{"message":"the moon is wrong."}}')])

    async def main():
        async with engine(provider) as e:
            asking = headway.ask("Why?", model=MODEL, engine=e)
            with pytest.raises(kind, match=f"answered {status}.*: the moon is wrong") as caught:
                if iterated:
                    assert [piece async for piece in asking] == []
                else:
                    await asking
            assert caught.value.trace is asking.trace
            return asking.trace

    assert virtual_run(main).status == status


def test_half_an_answer_is_an_error():
    """A broken stream, an error event inside of one, and a cut by a bound that nobody asked for."""
    begun = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"one"}\n\n'
    failed = b'event: error\ndata: {"type":"error","code":"server_error","message":"it broke"}\n\n'
    whole = msgspec.json.encode(
        {"id": "r", "object": "response", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"},
         "output": [{"type": "message", "content": [{"type": "output_text", "text": "one"}]}]}
    )  # fmt: skip
    script = [Step(chunks=(begun,), error=ConnectionLost("gone")), Step(chunks=(begun, failed)), Step(body=whole)]

    async def pieces(asking):
        return [piece async for piece in asking]

    async def main():
        async with engine(FakeProvider([*script, script[-1]]), attempts_max=1) as e:
            with pytest.raises(ConnectionLost, match="gone"):
                await pieces(headway.ask("a", model=MODEL, engine=e))
            with pytest.raises(ProviderError, match="ended in an error: it broke") as caught:
                await pieces(headway.ask("b", model=MODEL, engine=e))
            assert caught.value.trace.outcome == "server_error"
            with pytest.raises(BadReply, match="cut at its bound; raise output_tokens_max"):
                await headway.ask("c", model=MODEL, engine=e)
            bounded = headway.ask("c", model=MODEL, engine=e, output_tokens_max=20)
            assert await bounded == "one"
            assert bounded.cut

    virtual_run(main)


def test_leaving_it_ends_the_request():
    """By cancelling the task, by leaving the loop, by a deadline: nothing stays open at the provider."""
    provider = FakeProvider([Step(text="one two three", chunk_delay_s=1.0)])

    async def main():
        async with engine(provider) as e:
            async for _ in headway.ask("a", model=MODEL, engine=e):
                break
            await asyncio.sleep(0.1)
            assert (provider.open, provider.aborted) == (0, 1)

            async def read():
                return [piece async for piece in headway.ask("b", model=MODEL, engine=e)]

            task = asyncio.create_task(read())
            await asyncio.sleep(1.5)
            task.cancel()
            await asyncio.wait([task])
            assert (task.cancelled(), provider.open, provider.aborted) == (True, 0, 2)
            with pytest.raises(DeadlineExceeded):
                [piece async for piece in headway.ask("c", model=MODEL, engine=e, deadline_s=1.5)]
            await asyncio.sleep(0.1)
            assert provider.open == 0

    virtual_run(main)
    assert provider.calls == 3


def test_nothing_is_sent_before_it_is_awaited_and_once_is_enough():
    """An answer that is asked for twice is a mistake in the program, and so is one that is taken for a text."""
    provider = FakeProvider([Step(text="ok")])

    async def main():
        async with engine(provider) as e:
            asking = headway.ask("a", model=MODEL, engine=e)
            await asyncio.sleep(1)
            assert provider.calls == 0
            for wrong in (str, bool, len, iter, "{}".format):
                with pytest.raises(TypeError, match="await it, or iterate"):
                    wrong(asking)
            assert await asking == "ok"
            with pytest.raises(ConfigError, match="asked for already"):
                await asking

    virtual_run(main)


def test_it_uses_the_current_engine_and_belongs_to_the_step():
    """The one of `using`; tags from the scope, unless it has its own."""
    provider = FakeProvider([Step(text="ok")])

    async def main():
        async with engine(provider, cache="memory") as e:
            with headway.using(e):
                SCOPE.set(Scope(Tags(run="r", step="s#0")))
                await headway.ask("a", model=MODEL)
                await headway.ask("a", model=MODEL, tags=Tags(run="own"), cache="off", priority="high")
                again = headway.ask("a", model=MODEL)
                assert "".join([piece async for piece in again]) == "ok"
                return again.trace.cache

    assert virtual_run(main) == "memory"  # streamed or not, it is one answer
    assert [call.tags.run for call in provider.seen] == ["r", "own"]
    assert provider.seen[1].priority == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"api": "grpc"}, "api must be"),
        ({"model": ""}, "model must be a name"),
        ({"prompt": 7}, "prompt must be a text or a list of turns, not int"),
        ({"prompt": []}, "prompt must be"),
        ({"output_tokens_max": 0}, "output_tokens_max must be at least 1"),
        ({"prompt": "\ud800"}, "cannot be written as JSON"),
        ({"fields": {"x": object()}}, "cannot be written as JSON"),
    ],
)
def test_a_wrong_question_says_what_is_wrong(wrong, said):
    """Before anything is sent."""
    with pytest.raises(ConfigError, match=said):
        Question(**{"prompt": "Why?", "model": MODEL} | wrong).body("max_output_tokens")


def test_over_a_real_connection():
    """Awaited and iterated, in all three APIs."""

    async def main(url):
        async with Engine(base_url=url, api_key="sk-sim", log="off", log_level="off") as e:
            for api in APIS:
                model = "claude-haiku-4-5" if api == "messages" else MODEL
                text = await headway.ask("Write 10 words about rain.", model=model, api=api, engine=e)
                pieces = headway.ask("Write 10 words about rain.", model=model, api=api, engine=e)
                streamed = [piece async for piece in pieces]
                assert len(text.split()) > 4
                assert len(streamed) > 3
                assert pieces.trace.usage.output_tokens > 4

    with serving(SimSettings(latency_scale=0)) as url:
        asyncio.run(main(url))
