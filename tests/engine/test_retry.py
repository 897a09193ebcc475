"""What is tried again, how often, and what never is."""

from __future__ import annotations

import asyncio

import pytest

from headway import BudgetExceeded, ConnectFailed, ConnectionLost, DeadlineExceeded
from headway.testing import FakeProvider, Step, virtual_run

from .helpers import BODY, COMPLETIONS, RESPONSES, engine


def send(provider, *, body=BODY, path=RESPONSES, deadline_s=None, **settings):
    """One call on virtual time: (reply or error, seconds it took)."""

    async def main():
        async with engine(provider, **settings) as e:
            start_s = asyncio.get_running_loop().time()
            try:
                reply = await e.send(path, body, deadline_s=deadline_s)
                await reply.read()
            except Exception as error:
                reply = error
            return reply, asyncio.get_running_loop().time() - start_s

    return virtual_run(main)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_pass_is_tried_again(status):
    """Overloads, throttles and server errors get another try; the answer is the caller's."""
    provider = FakeProvider([status, 200])
    reply, _ = send(provider)
    assert (reply.status, provider.calls) == (200, 2)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_what_cannot_pass_is_tried_once(status):
    """An HTTP status is data: the provider's own error is handed on, after exactly one attempt."""
    provider = FakeProvider([status, 200])
    reply, took_s = send(provider)
    assert (reply.status, provider.calls, took_s) == (status, 1, 0.0)


def test_a_billing_429_is_tried_once():
    """`error.code` tells it from a throttle: no money comes from asking again."""
    body = b'{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}'
    provider = FakeProvider([Step(status=429, body=body), 200])
    reply, _ = send(provider)
    assert (reply.status, provider.calls) == (429, 1)
    assert reply.trace.outcome == "billing"


def test_server_errors_are_bounded_by_attempts_max():
    """Three tries, then the last answer is the caller's."""
    provider = FakeProvider([500])
    reply, _ = send(provider)
    assert (reply.status, provider.calls) == (500, 3)


def test_retry_after_is_a_floor():
    """A wait the provider named is kept."""
    provider = FakeProvider([Step(status=429, headers=(("retry-after", "3"),)), 200])
    reply, took_s = send(provider)
    assert reply.status == 200
    assert took_s >= 3


def test_no_try_is_planned_past_the_deadline():
    """Retry-After 121 with 5 s left: the 429 is handed on at once instead of waiting in vain."""
    provider = FakeProvider([Step(status=429, headers=(("retry-after", "121"),))])
    reply, took_s = send(provider, deadline_s=5)
    assert (reply.status, provider.calls) == (429, 1)
    assert took_s < 5


def test_connect_failures_are_tried_again_and_then_raised():
    """Nothing was sent, so nothing can have been billed."""
    provider = FakeProvider([ConnectFailed("down")])
    error, _ = send(provider)
    assert isinstance(error, ConnectFailed)
    assert provider.calls == 3
    assert not error.maybe_billed


def test_the_deadline_ends_a_silent_provider():
    """A stalled answer is given up at the deadline, and may have been billed."""
    provider = FakeProvider([Step(delay_s=1000)])
    error, took_s = send(provider, deadline_s=4)
    assert isinstance(error, DeadlineExceeded)
    assert error.maybe_billed
    assert took_s == 4
    assert provider.aborted == 1


def test_the_default_timeout_is_a_deadline():
    """`timeout_s` holds for calls that name none."""
    error, took_s = send(FakeProvider([Step(delay_s=1000)]), timeout_s=10)
    assert isinstance(error, DeadlineExceeded)
    assert took_s == 10


def test_a_stream_that_fails_before_its_first_content_is_tried_again():
    """Nothing was relayed yet, so the caller never notices."""
    provider = FakeProvider([Step(chunks=(b": ping\n\n",), error=ConnectionLost("reset")), Step(text="fine")])
    reply, _ = send(provider, body=BODY | {"stream": True})
    assert provider.calls == 2
    assert b"fine" in reply.body


def test_an_overload_inside_a_200_is_tried_again():
    """An error event before any content is a failed try, whatever the status line said."""
    event = b'data: {"error":{"type":"overloaded_error","code":"overloaded_error","message":"busy"}}\n\n'
    provider = FakeProvider([Step(chunks=(event,)), Step(text="fine")])
    reply, _ = send(provider, path=COMPLETIONS, body={"model": "m", "messages": [], "stream": True})
    assert provider.calls == 2
    assert b"fine" in reply.body


def test_a_stream_that_breaks_after_its_first_content_is_not_tried_again():
    """Past the commit point the caller has seen bytes: it gets the typed error, and what came may be billed."""
    whole = FakeProvider([Step(text="a b c")])

    async def main():
        async with engine(whole) as e:
            reply = await e.send(RESPONSES, BODY | {"stream": True})
            chunks = [chunk async for chunk in reply]
        broken = FakeProvider([Step(chunks=tuple(chunks[:2]), error=ConnectionLost("reset", maybe_billed=True)), 200])
        async with engine(broken) as e:
            reply = await e.send(RESPONSES, BODY | {"stream": True})
            seen = []
            with pytest.raises(ConnectionLost) as caught:
                async for chunk in reply:
                    seen.append(chunk)
            return seen, caught.value, broken.calls, reply.trace

    seen, error, calls, trace = virtual_run(main)
    assert len(seen) == 2
    assert error.maybe_billed
    assert calls == 1
    assert trace.outcome == "connection_lost"


def test_a_stream_without_its_terminal_event_is_an_error():
    """EOF is no end: the missing terminal event is noticed."""
    provider = FakeProvider([Step(chunks=(b'data: {"choices":[{"delta":{"content":"half"}}]}\n\n',))])
    error, _ = send(provider, path=COMPLETIONS, body={"model": "m", "messages": [], "stream": True})
    assert isinstance(error, ConnectionLost)


def test_retries_share_one_budget():
    """An outage is not amplified: 100 failing calls get 100 first tries and some tens of retries, not 200."""
    provider = FakeProvider([500])

    async def main():
        async with engine(provider) as e:
            await asyncio.gather(*[e.send(RESPONSES, BODY) for _ in range(100)])

    virtual_run(main)
    assert 100 < provider.calls <= 120


def test_the_dollar_cap_stops_before_it_is_passed():
    """The worst case is reserved before sending; the cap is never passed, and the error says where it stands."""
    provider = FakeProvider([Step(input_tokens=100, output_tokens=100)])
    body = BODY | {"max_output_tokens": 100}

    async def main():
        async with engine(provider, budget_usd=0.002) as e:
            with pytest.raises(BudgetExceeded, match="raise budget_usd"):
                for _ in range(100):
                    await e.send(RESPONSES, body)
            return e.snapshot()["dollars"]

    dollars = virtual_run(main)
    assert 0 < dollars <= 0.002
    assert provider.calls < 100


def test_a_dollar_cap_needs_a_known_price():
    """A model without a published price costs "unknown", never zero."""
    error, _ = send(FakeProvider([200]), body={"model": "no-such-model-7", "input": "x"}, budget_usd=1.0)
    assert isinstance(error, BudgetExceeded)
    assert "no-such-model-7" in str(error)


def test_an_unknown_price_is_unknown():
    """Dollars are None where the price is not known."""
    reply, _ = send(FakeProvider([200]), body={"model": "no-such-model-7", "input": "x"})
    assert reply.trace.dollars is None


def test_html_instead_of_an_answer_is_a_bad_reply():
    """A 200 that is no answer is never handed on as one; it says who is at fault."""
    error, _ = send(FakeProvider([Step(body=b"<html>hi</html>")]))
    assert type(error).__name__ == "BadReply"
    assert error.maybe_billed
