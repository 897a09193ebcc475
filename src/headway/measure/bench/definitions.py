"""The same run in the terms of other tools, so that figures can be held side by side.

What each tool means by its words was read in its sources, which the functions name; the numbers come from our clocks,
and where those cannot tell what the tool would have seen, `Terms.differs` says so. Three things hold for all three:

- They count from when a request was sent off, not from when it was due: what waited for its turn is not in them.
- Failed requests are counted and left out of the latencies.
- Percentiles are given as they give them, also where there are too few values for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, get_args

import msgspec

from headway.measure.bench.run_types import Slo
from headway.measure.bench.terms import Term, mean_spread, single, spread, weighed
from headway.measure.probe import Probe

__all__ = ["Terms", "Tool", "in_terms_of", "tools"]

Tool = Literal["aiperf", "guidellm", "vllm"]
_MS: Final = 1e3


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """A run in a tool's terms."""

    tool: Tool
    terms: tuple[Term, ...]
    differs: tuple[str, ...]
    """What the tool would have seen differently, a sentence each."""


def tools() -> tuple[str, ...]:
    """Whose terms there are."""
    return get_args(Tool)


def in_terms_of(tool: Tool, probes: Sequence[Probe], *, duration_s: float, slo: Slo | None = None) -> Terms:
    """A run in a tool's terms.

    Args:
        tool: Whose.
        probes: Those that count, failures among them.
        duration_s: From the first start to the last end.
        slo: For goodput; none is printed without.
    """
    build: Mapping[Tool, Callable[[Sequence[Probe], float, Slo | None], Terms]] = {
        "aiperf": _aiperf,
        "guidellm": _guidellm,
        "vllm": _vllm,
    }
    return build[tool](probes, duration_s, slo)


# -- what a tool would have seen of one request --------------------------------------------------------------------


def _first_s(probe: Probe) -> float | None:
    """The first token of either kind: to all three, a reasoning token is a token. None for whole answers."""
    firsts = [at_s for at_s in (probe.first_reasoning_s, probe.first_answer_s) if at_s is not None]
    return min(firsts) if firsts and probe.streamed else None


def _ttft_ms(probe: Probe) -> float | None:
    first_s = _first_s(probe)
    return None if first_s is None else (first_s - probe.started_s) * _MS


def _output_tokens(probe: Probe) -> int | None:
    """Of the provider's usage, reasoning included: they call it completion tokens or output sequence length."""
    return None if probe.usage is None else probe.usage.output_tokens


def _input_tokens(probe: Probe) -> int:
    return 0 if probe.usage is None else probe.usage.input_tokens


def _to_last_s(probe: Probe) -> float:
    """From the start to the last content; whole answers have it at their end."""
    last_s = probe.last_content_s if probe.streamed and probe.last_content_s is not None else probe.end_s
    return last_s - probe.started_s


def _per_token_ms(probe: Probe, took_s: float) -> float | None:
    """`took_s` over the tokens after the first one."""
    tokens = _output_tokens(probe)
    return None if tokens is None or tokens < 2 else took_s / (tokens - 1) * _MS


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _rate(amount: float, seconds: float) -> float | None:
    return amount / seconds if seconds > 0 else None


# -- AIPerf --------------------------------------------------------------------------------------------------------


def _aiperf(probes: Sequence[Probe], duration_s: float, slo: Slo | None) -> Terms:
    """NVIDIA AIPerf.

    Source: ai-dynamo/aiperf, docs/metrics_reference.md and src/aiperf/metrics/types/{ttft,time_to_first_output_token,
    request_latency,inter_token_latency,inter_chunk_latency}_metric.py: TTFT to the first chunk with content, reasoning
    included; TTFO to the first that is not reasoning; latency to the last chunk with content; ITL = (latency - TTFT) /
    (output sequence length - 1), a value a request; the duration runs from the first request to the last response.
    """
    good = [probe for probe in probes if probe.answered]
    per_token = _known([_aiperf_itl_ms(probe) for probe in good])
    whole_s = max((p.end_s for p in good), default=0.0) - min((p.started_s for p in good), default=0.0)
    tokens = [_output_tokens(probe) or 0 for probe in good]
    terms = [
        spread("time_to_first_token", "ms", _known([_ttft_ms(probe) for probe in good])),
        spread("time_to_first_output_token", "ms", _known([_ttfo_ms(probe) for probe in good])),
        spread("request_latency", "ms", [_to_last_s(probe) * _MS for probe in good]),
        spread("inter_token_latency", "ms", per_token),
        spread("inter_chunk_latency", "ms", [gap_s * _MS for probe in good for gap_s in probe.gaps_s]),
        spread("output_token_throughput_per_user", "tokens/s", [_MS / ms for ms in per_token if ms > 0]),
        spread("output_sequence_length", "tokens", [float(count) for count in tokens]),
        single("output_token_throughput", "tokens/s", _rate(sum(tokens), whole_s)),
        single("request_throughput", "requests/s", _rate(len(good), whole_s)),
        single("request_count", "requests", len(good)),
        single("error_request_count", "requests", len(probes) - len(good)),
    ]
    if slo is not None:
        terms.append(single("goodput", "requests/s", _rate(sum(_good(probe, slo) for probe in good), whole_s)))
    differs = (
        "AIPerf counts tokens by a tokenizer, unless told otherwise; here they are the provider's usage.",
        "A chunk is what came at one moment; AIPerf times each event of it.",
    )
    return Terms(tool="aiperf", terms=tuple(terms), differs=differs)


def _aiperf_itl_ms(probe: Probe) -> float | None:
    first_s = _first_s(probe)
    if first_s is None:
        return None
    return _per_token_ms(probe, _to_last_s(probe) - (first_s - probe.started_s))


def _ttfo_ms(probe: Probe) -> float | None:
    if not probe.streamed or probe.first_answer_s is None:
        return None
    return (probe.first_answer_s - probe.started_s) * _MS


# -- GuideLLM ------------------------------------------------------------------------------------------------------


def _guidellm(probes: Sequence[Probe], duration_s: float, slo: Slo | None) -> Terms:
    """GuideLLM.

    Source: vllm-project/guidellm, src/guidellm/schemas/base/request_stats.py: TTFT to the first token of any kind;
    time_per_output_token = (last token - start) / output tokens, the first one included; inter_token_latency = (last
    token - first token) / (output tokens - 1). Its benchmark metrics weigh the former by output tokens and the latter
    by output tokens less one, so that their means are over tokens, not over requests; percentiles are the first value
    at which the cumulated weight reaches the share. Tokens are the server's usage, else the number of events.
    """
    good = [probe for probe in probes if probe.answered]
    counts = [(probe, _guidellm_tokens(probe)) for probe in good]
    spans = [(p, n, (p.last_content_s or p.end_s) - (_first_s(p) or p.end_s)) for p, n in counts if n > 1]
    terms = [
        weighed("request_latency", "s", [(probe.end_s - probe.started_s, 1.0) for probe in good]),
        weighed("time_to_first_token_ms", "ms", [(ms, 1.0) for ms in _known([_ttft_ms(probe) for probe in good])]),
        weighed("time_per_output_token_ms", "ms", [(_to_last_s(p) / n * _MS, float(n)) for p, n in counts if n > 0]),
        weighed(
            "inter_token_latency_ms",
            "ms",
            [(span_s / (n - 1) * _MS, n - 1.0) for p, n, span_s in spans if _first_s(p) is not None],
        ),
        single("requests_per_second", "requests/s", _rate(len(good), duration_s)),
        single("output_tokens_per_second", "tokens/s", _rate(sum(n for _, n in counts), duration_s)),
        single("successful", "requests", len(good)),
        single("errored", "requests", len(probes) - len(good)),
    ]
    differs = ("GuideLLM takes its rates from a time line of its own; here they are over the whole run.",)
    return Terms(tool="guidellm", terms=tuple(terms), differs=differs)


def _guidellm_tokens(probe: Probe) -> int:
    tokens = _output_tokens(probe)
    return probe.content_events if tokens is None else tokens


# -- vLLM ----------------------------------------------------------------------------------------------------------


def _vllm(probes: Sequence[Probe], duration_s: float, slo: Slo | None) -> Terms:
    """`vllm bench serve`.

    Source: vllm-project/vllm, vllm/benchmarks/serve.py (calculate_metrics) and vllm/benchmarks/lib/
    endpoint_request_func.py: TTFT to the first event with choices; e2el to the last event before [DONE]; TPOT = (e2el -
    TTFT) / (output tokens - 1), a value a request of two tokens or more; ITL all gaps between events of all requests in
    one list; rates over the whole benchmark; percentiles by linear interpolation; for goodput a TPOT that does not
    exist counts as kept.
    """
    good = [probe for probe in probes if probe.answered]
    e2el = [(probe.end_s - probe.started_s) * _MS for probe in good]
    tokens = [_output_tokens(probe) or 0 for probe in good]
    inputs = sum(_input_tokens(probe) for probe in good)
    terms = [
        single("completed", "requests", len(good)),
        single("failed", "requests", len(probes) - len(good)),
        single("duration", "s", duration_s),
        single("total_input_tokens", "tokens", inputs),
        single("total_output_tokens", "tokens", sum(tokens)),
        single("request_throughput", "requests/s", _rate(len(good), duration_s)),
        single("output_throughput", "tokens/s", _rate(sum(tokens), duration_s)),
        single("total_token_throughput", "tokens/s", _rate(inputs + sum(tokens), duration_s)),
        mean_spread("ttft_ms", _known([_ttft_ms(probe) for probe in good])),
        mean_spread("tpot_ms", _known([_vllm_tpot_ms(probe) for probe in good])),
        mean_spread("itl_ms", [gap_s * _MS for probe in good for gap_s in probe.gaps_s]),
        mean_spread("e2el_ms", e2el),
    ]
    if slo is not None:
        kept = sum(_good(probe, slo) for probe in good)
        terms.insert(6, single("request_goodput", "requests/s", _rate(kept, duration_s)))
    differs = (
        "vLLM's first event may be one that opens the answer and carries no token; here it is the first token.",
        "Events that came at one moment are one here; vLLM puts their gaps of next to nothing into its ITL.",
    )
    return Terms(tool="vllm", terms=tuple(terms), differs=differs)


def _vllm_tpot_ms(probe: Probe) -> float | None:
    ttft_ms = _ttft_ms(probe)
    return None if ttft_ms is None else _per_token_ms(probe, probe.end_s - probe.started_s - ttft_ms / _MS)


def _good(probe: Probe, slo: Slo) -> bool:
    """By their rule: limits on TTFT, TPOT and latency from the start; what does not exist is kept."""
    ttft_ms, tpot_ms = _ttft_ms(probe), _vllm_tpot_ms(probe)
    return (
        (slo.ttft_s is None or (ttft_ms is not None and ttft_ms <= slo.ttft_s * _MS))
        and (slo.tpot_s is None or (tpot_ms or 0.0) <= slo.tpot_s * _MS)
        and (slo.e2e_s is None or probe.end_s - probe.started_s <= slo.e2e_s)
    )
