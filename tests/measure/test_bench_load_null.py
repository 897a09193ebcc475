"""The null server over a real socket, and what is made of its account."""

from __future__ import annotations

import asyncio
import os

import msgspec
import pytest

from headway import Engine, HeadwayError
from headway.measure.bench.clock import LoopLag, precise_loop, until
from headway.measure.bench.load import run_load
from headway.measure.bench.null import NullAccount, NullSettings, null_body, null_server, serve_null
from headway.measure.bench.run_types import Lag, Load, OwnError, Run, Target
from headway.measure.bench.self_check import RAW, calibrate, doubts, null_like, own_error_of, refusal
from headway.measure.probe import Probe
from headway.types import Usage

QUICK = NullSettings(ttft_s=0.002, itl_s=0.001, tokens=5)


def target(*, stream: bool) -> Target:
    return Target(
        name="null", path="/v1/chat/completions", body=lambda index: null_body(index, stream=stream)
    )  # fmt: skip


@pytest.mark.parametrize("stream", [True, False])
def test_it_answers_and_keeps_an_account(stream):
    """Every request answered with its tokens and its usage, and in the account, its times in order."""

    async def main() -> tuple[Run, list[NullAccount]]:
        server = await serve_null(QUICK)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with Engine(config=os.devnull, base_url=url, api_key="null", **RAW) as engine:
            [run] = await run_load(engine, [target(stream=stream)], Load(concurrency=2, count=6, texts=True))
            reply = await engine.request("GET", "/v1/account")
            account = msgspec.json.decode(await reply.read(), type=list[NullAccount])
        server.close()
        await server.wait_closed()
        return run, account

    run, account = asyncio.run(main())
    assert sorted(entry.index for entry in account) == list(range(6))
    for probe in run.probes:
        assert (probe.outcome, probe.text, probe.streamed) == ("ok", " it" * 5, stream)
        assert probe.usage == Usage(input_tokens=3, output_tokens=5)
    for entry in account:
        assert entry.arrived_s < entry.first_s <= entry.last_s
        assert entry.first_s - entry.arrived_s >= (QUICK.ttft_s if stream else QUICK.service_s) - 1e-6
        assert entry.last_s - entry.arrived_s >= QUICK.service_s - 1e-6
    own = own_error_of(run.probes, account)
    assert own.requests == 6
    assert own.latency_p50_s > 0  # the way there and back takes time
    assert (own.ttft_p50_s is None) is not stream


def test_it_lives_in_a_process_of_its_own():
    """Calibration starts it, loads it and ends it."""

    async def main() -> OwnError:
        return await calibrate(Load(concurrency=2, count=4), null=QUICK, seconds_max=0.05)

    with asyncio.Runner(loop_factory=precise_loop) as runner:
        own = runner.run(main())
    assert own.requests >= 20
    assert own.true_ttft_s is not None
    assert own.true_ttft_s >= QUICK.ttft_s - 1e-6


def test_the_child_ends_with_the_block():
    """Its port is free again."""
    with null_server(QUICK) as url:
        assert url.startswith("http://127.0.0.1:")

    async def main() -> None:
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].split("/")[0]))

    asyncio.run(main())


@pytest.mark.parametrize("factory", [precise_loop, asyncio.SelectorEventLoop])
def test_nobody_is_woken_early(factory):
    """On either loop, `until` returns when it is time; the past is no wait."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        lag = LoopLag()
        lag.start()
        for wait_s in (0.03, 0.0005, -1.0):
            due_s = loop.time() + wait_s
            await until(due_s)
            assert loop.time() >= due_s
        lag.stop()
        lag.stop()
        assert lag.late.lag().count >= 1

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


def test_an_account_of_others_is_no_calibration():
    """Nothing in common: said, not guessed."""
    probe = Probe(index=7, intended_s=0.0, started_s=0.0, end_s=1.0, outcome="connect_failed", error="nobody there")
    with pytest.raises(HeadwayError, match="nobody there"):
        own_error_of([probe], [NullAccount(7, 0.0, 1.0, 1.0)])


def test_own_errors_are_measured_less_true():
    """50 ms to the first token and 10 ms apart, seen 1 ms and 2 ms late."""
    probe = Probe(
        index=3, intended_s=10.0, started_s=10.0, end_s=10.072, first_answer_s=10.051, last_content_s=10.072,
        content_events=3,
    )  # fmt: skip
    own = own_error_of([probe], [NullAccount(3, 500.0, 500.05, 500.07)])
    assert own.ttft_p50_s == pytest.approx(0.001)
    assert own.latency_p50_s == pytest.approx(0.002)
    assert own.itl_mean_s == pytest.approx(0.0005)
    assert (own.ttft_p99_s, own.true_ttft_s) == (None, pytest.approx(0.05))


def test_the_99th_percentile_of_a_hundred_is_not_their_greatest():
    """One stray of a hundred is the greatest, not p99; below a hundred there is none."""

    def own(count: int) -> OwnError:
        late = [0.001] * (count - 1) + [1.0]
        probes = [
            Probe(index=i, intended_s=0.0, started_s=0.0, end_s=0.07 + s, first_answer_s=0.05 + s)
            for i, s in enumerate(late)
        ]
        return own_error_of(probes, [NullAccount(i, 0.0, 0.05, 0.07) for i in range(count)])

    assert own(100).latency_p99_s == pytest.approx(0.001 + 0.01 * 0.999)
    assert own(100).ttft_p99_s == pytest.approx(0.001 + 0.01 * 0.999)
    assert own(99).latency_p99_s is None


def test_a_verdict_is_refused_where_the_own_error_nears_the_effect():
    """Half of it is too near; an error nobody measured refuses nothing."""
    assert refusal(0.001, 0.010) == ""
    assert refusal(None, 0.010) == ""
    assert "6.0 ms by its own doing" in refusal(0.006, 0.010, "TTFT")
    assert refusal(-0.006, -0.010) != ""


def test_doubts_about_a_run():
    """Loop lag, a missed rate, arrivals of another kind, and what the measurement adds: each said."""
    probes = tuple(
        Probe(index=n, intended_s=0.1 * n, started_s=0.1 * n, end_s=0.1 * n + 1, first_answer_s=0.1 * n + 0.1)
        for n in range(40)
    )
    good = Run(target="m", load=Load(count=40), probes=probes, own_error=OwnError(latency_p50_s=0.0, ttft_p50_s=0.001))
    assert doubts(good) == ()
    bad = msgspec.structs.replace(
        good, loop_lag=Lag(p99_s=0.02), asked_rate_per_s=10.0, achieved_rate_per_s=9.0, asked_cv=1.0, achieved_cv=0.5,
        own_error=OwnError(latency_p50_s=0.0, ttft_p50_s=0.02),
    )  # fmt: skip
    assert len(doubts(bad)) == 4


def test_a_null_server_like_a_run():
    """Its medians, bounded."""
    probe = Probe(intended_s=0.0, started_s=0.0, end_s=1.2, first_answer_s=0.3, last_content_s=1.2, content_events=10)
    like = null_like(Run(target="m", load=Load(count=1), probes=(probe,)))
    assert (like.ttft_s, like.tokens) == (0.3, 10)
    assert like.service_s == pytest.approx(1.2)
    assert null_like(Run(target="m", load=Load(count=1))).tokens == 1
