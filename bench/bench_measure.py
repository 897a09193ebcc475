"""How exactly `headway bench` measures, and how much load one process drives: against a null server that keeps time.

The server is a child process on an absolute schedule; its account says when it wrote what, on the clock both share.
"True" is that account or the schedule itself. Both processes need a core of their own (on a busy machine, run it with
``chrt -f 20``). Where AIPerf is installed (BENCH_AIPERF=/path/to/bin/aiperf, and BENCH_TOKENIZER, a folder, where it
cannot download one), the same load is measured with it. With names as arguments only those figures are taken: accuracy
rate omission poisson streams both aiperf.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import fmean, median

import msgspec

from common import emit, own_state
from headway.engine import Engine
from headway.measure.bench.clock import precise_loop
from headway.measure.bench.load import run_load
from headway.measure.bench.null import NullAccount, NullSettings, null_body, null_server
from headway.measure.bench.run_types import Load, Run, Target
from headway.measure.bench.self_check import RAW, own_error_of

CHAT = "/v1/chat/completions"
NULL = NullSettings(ttft_s=0.05, itl_s=0.01, tokens=24)


def target(*, stream: bool) -> Target:
    return Target(name="null", path=CHAT, body=lambda index: null_body(index, stream=stream))


def ms(value_s: float | None, digits: int = 2) -> float | None:
    return None if value_s is None else round(value_s * 1e3, digits)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def measured(url: str, load: Load, *, stream: bool = True) -> tuple[Run, dict[int, NullAccount]]:
    """One run, and the server's account of it."""
    gc.collect()
    async with Engine(config=os.devnull, base_url=url, api_key="null", **RAW) as engine:
        await asyncio.sleep(0.5)  # the price list is read in a thread when an engine is made
        await run_load(engine, [target(stream=stream)], Load(count=2))  # and a first call opens and imports things
        [run] = await run_load(engine, [target(stream=stream)], load)
        account = await (await engine.request("GET", "/v1/account")).read()
    failed = [probe.error for probe in run.probes if not probe.ok]
    assert not failed, failed[0]
    return run, {entry.index: entry for entry in msgspec.json.decode(account, type=list[NullAccount])}


def itl_s(run: Run) -> float:
    """Mean gap between tokens."""
    return fmean((probe.last_content_s - probe.first_answer_s) / (probe.content_events - 1) for probe in run.probes)


def judged(run: Run) -> dict[str, float | int | None]:
    """What goes with every figure."""
    return {
        "requests": len(run.probes),
        "loop_lag_p99_ms": ms(run.loop_lag.p99_s),
        "start_lag_p99_ms": ms(run.start_lag.p99_s),
        "rate": None if run.achieved_rate_per_s is None else round(run.achieved_rate_per_s, 2),
    }


async def accuracy() -> None:
    """TTFT and ITL at concurrency 4, and at 200 requests/s."""
    with null_server(NULL) as url:
        run, account = await measured(url, Load(concurrency=4, count=300, warmup_count=16))
    own = own_error_of(run.probes, list(account.values()))
    ttft = median([probe.ttft_s for probe in run.probes])
    more = judged(run) | {"against_its_account_ms": ms(own.ttft_p50_s, 3), "p99_ms": ms(own.ttft_p99_s)}
    emit("TTFT p50, 4 at once, true 50 ms", "within 1.5 ms", ms(ttft), reached=abs(ttft - 0.05) <= 0.0015, **more)
    gap = itl_s(run)
    emit("ITL, 4 at once, true 10 ms", "within 0.1 ms", ms(gap, 3), reached=abs(gap - 0.01) <= 0.0001, **judged(run))


async def rate() -> None:
    with null_server(NULL) as url:
        run, account = await measured(url, Load(rate_per_s=200, count=2000, warmup_s=2.0))
    own = own_error_of(run.probes, list(account.values()))
    ttft, gap = median([probe.ttft_s for probe in run.probes]), itl_s(run)
    more = judged(run) | {"against_its_account_ms": ms(own.ttft_p50_s, 3), "p99_ms": ms(own.ttft_p99_s)}
    emit("TTFT p50, 200 requests/s, true 50 ms", "within 5 %", ms(ttft), reached=abs(ttft / 0.05 - 1) <= 0.05, **more)
    emit(
        "ITL, 200 requests/s, true 10 ms", "within 5 %", ms(gap, 3), reached=abs(gap / 0.01 - 1) <= 0.05, **judged(run)
    )


async def omission() -> None:
    """Constant arrivals that one place cannot serve in time: latency counts from when they were due."""
    for service_s in (0.243, 0.25):
        settings = NullSettings(ttft_s=0.05, itl_s=(service_s - 0.05) / 23, tokens=24)
        with null_server(settings) as url:
            load = Load(rate_per_s=10, arrivals="constant", count=12, concurrency_max=1)
            run, account = await measured(url, load)
        mean_s = fmean(probe.latency_s for probe in run.probes)
        due_s = [run.origin_s + probe.intended_s for probe in run.probes]
        told_s = fmean(account[probe.index].last_s - at_s for probe, at_s in zip(run.probes, due_s, strict=True))
        plan_s = fmean(service_s + max(0.0, service_s - 0.1) * k for k in range(12))
        emit(
            f"constant 10/s, one place, {service_s * 1e3:g} ms service, 12 requests: mean latency",
            "within 3 % of the true one", ms(mean_s, 1), reached=abs(mean_s / plan_s - 1) <= 0.03,
            true_by_arithmetic_ms=ms(plan_s, 1), true_by_the_servers_account_ms=ms(told_s, 1),
            mean_from_start_ms=ms(fmean(probe.end_s - probe.started_s for probe in run.probes), 1), **judged(run),
        )  # fmt: skip


async def poisson() -> None:
    """5,000 arrivals at 200/s and at 500/s, whole answers."""
    for per_s in (200, 500):
        with null_server(NullSettings(ttft_s=0.05, itl_s=0.0, tokens=1)) as url:
            run, account = await measured(url, Load(rate_per_s=per_s, count=5000, warmup_s=2.0), stream=False)
        own = own_error_of(run.probes, list(account.values()))
        off, cv = run.achieved_rate_per_s / per_s - 1, run.achieved_cv
        emit(f"Poisson {per_s}/s: achieved rate", "within 2 %", f"{off:+.2%}", reached=abs(off) <= 0.02, **judged(run))
        emit(f"Poisson {per_s}/s: CV of gaps", "1 +- 0.05", round(cv, 4), reached=abs(cv - 1) <= 0.05,
             of_the_schedule=round(run.asked_cv, 4))  # fmt: skip
        if per_s == 500:
            emit("500 requests/s, whole answers: latency inflation p99", "<= 5 ms", ms(own.latency_p99_s),
                 reached=own.latency_p99_s <= 0.005, p50_ms=ms(own.latency_p50_s), **judged(run))  # fmt: skip


async def streams() -> None:
    """100 streams of 100 chunks at 10 ms, all the time."""
    with null_server(NullSettings(ttft_s=0.05, itl_s=0.01, tokens=100)) as url:
        load = Load(concurrency=100, count=1000, warmup_count=200, ramp_s=1.04)
        run, account = await measured(url, load)
    own = own_error_of(run.probes, list(account.values()))
    wire = [probe.first_answer_s + run.origin_s - account[probe.index].first_s for probe in run.probes]
    emit("100 streams of 100 chunks at 10 ms: TTFT inflation p99", "<= 5 ms", ms(own.ttft_p99_s),
         reached=own.ttft_p99_s <= 0.005, p50_ms=ms(own.ttft_p50_s), written_to_seen_p99_ms=ms(quantile(wire, 0.99)),
         itl_ms=ms(itl_s(run), 3), **judged(run))  # fmt: skip


async def both() -> None:
    """The 100 streams and the 500 requests/s at the same time, in one process."""
    spoken, whole = NullSettings(ttft_s=0.05, itl_s=0.01, tokens=100), NullSettings(ttft_s=0.05, itl_s=0.0, tokens=1)
    with null_server(spoken) as stream_url, null_server(whole) as whole_url:
        (streamed, said), (asked, answered) = await asyncio.gather(
            measured(stream_url, Load(concurrency=100, count=1000, warmup_count=200, ramp_s=1.04)),
            measured(whole_url, Load(rate_per_s=500, count=5000, warmup_s=2.0), stream=False),
        )
    first = own_error_of(streamed.probes, list(said.values()))
    latency = own_error_of(asked.probes, list(answered.values()))
    emit("both at once: TTFT inflation p99 of the streams", "<= 5 ms", ms(first.ttft_p99_s),
         reached=first.ttft_p99_s <= 0.005, p50_ms=ms(first.ttft_p50_s), **judged(streamed))  # fmt: skip
    emit("both at once: latency inflation p99 of 500 requests/s", "<= 5 ms", ms(latency.latency_p99_s),
         reached=latency.latency_p99_s <= 0.005, p50_ms=ms(latency.latency_p50_s), **judged(asked))  # fmt: skip


async def aiperf() -> None:
    """The same load by AIPerf."""
    tool = os.environ.get("BENCH_AIPERF", "")
    if not tool:
        emit("agreement with AIPerf", "within 5 ms", "BENCH_AIPERF is not set to its program", reached=None)
        return
    with null_server(NULL) as url:
        run, _ = await measured(url, Load(concurrency=4, count=200, warmup_count=16))
        theirs = await asyncio.to_thread(by_aiperf, tool, url)
    ours = {"ttft": median([probe.ttft_s for probe in run.probes]) * 1e3, "itl": itl_s(run) * 1e3}
    for name, value in ours.items():
        off = abs(value - theirs[name])
        emit(
            f"{name}: ours and AIPerf's, ms", "within 5 ms", [round(value, 2), round(theirs[name], 2)], reached=off <= 5
        )


def by_aiperf(tool: str, url: str) -> dict[str, float]:
    """Median TTFT and mean ITL, in milliseconds."""
    tokenizer = os.environ.get("BENCH_TOKENIZER", "builtin")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [tool, "profile", "--model", "null", "--url", url.removesuffix("/v1"), "--endpoint-type", "chat",
             "--streaming", "--concurrency", "4", "--request-count", "200", "--warmup-request-count", "16",
             "--tokenizer", tokenizer, "--use-server-token-count", "--artifact-dir", folder, "--ui", "none"],
            check=True, stdout=subprocess.DEVNULL, timeout=300,
        )  # fmt: skip
        found: dict[str, float] = {}
        names: list[str] = []
        for row in csv.reader((Path(folder) / "profile_export_aiperf.csv").read_text("utf-8").splitlines()):
            if row and row[0] == "Metric":
                names = row
            elif row and row[0].startswith("Time to First Token"):
                found["ttft"] = float(row[names.index("p50")])
            elif row and row[0].startswith("Inter Token Latency"):
                found["itl"] = float(row[names.index("avg")])
    return found


def main() -> None:
    own_state()
    figures: dict[str, Callable[[], Awaitable[None]]] = {
        "accuracy": accuracy, "rate": rate, "omission": omission, "poisson": poisson, "streams": streams, "both": both,
        "aiperf": aiperf,
    }  # fmt: skip
    for name in sys.argv[1:] or figures:
        with asyncio.Runner(loop_factory=precise_loop) as runner:
            runner.run(figures[name]())


if __name__ == "__main__":
    main()
