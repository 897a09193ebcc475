"""``headway sim``: the provider simulator on loopback."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Annotated

import typer

from headway.errors import ConfigError
from headway.sim import BatchSettings, Quality, SimSettings, Simulator, parse_batch_fault, parse_fault, serve_forever
from headway.sim.profiles import REGIONS

__all__ = ["sim"]


def sim(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback unless --allow-remote.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 for any free one.")] = 8181,
    rpm: Annotated[int, typer.Option(min=0, help="Requests a minute per key and model; 0 for no limit.")] = 10_000,
    tpm: Annotated[int, typer.Option(min=0, help="Tokens a minute per key and model; 0 for no limit.")] = 30_000_000,
    capacity_s: Annotated[
        float, typer.Option("--capacity-s", help="Seconds of refill a limit's bucket holds, 1 to 60.")
    ] = 60.0,
    seed: Annotated[int, typer.Option(help="Same seed, same request: same answer.")] = 0,
    region: Annotated[str, typer.Option(help=f"Sets the round trip: {', '.join(REGIONS)}.")] = "us-east",
    latency_scale: Annotated[
        float, typer.Option("--latency-scale", help="Multiplies every time; 0 answers at once.")
    ] = 1.0,
    fault: Annotated[
        list[str] | None, typer.Option(help="KIND:RATE, or KIND:RATE@FROM-TO in seconds; repeatable.")
    ] = None,
    batch_scale: Annotated[
        float, typer.Option("--batch-scale", help="Multiplies every time of a batch; 0.001 makes 24 h 86 s.")
    ] = 1.0,
    batch_queue: Annotated[
        int | None, typer.Option("--batch-queue", min=1, help="Prompt tokens of batches that may wait per model.")
    ] = None,
    batch_fault: Annotated[
        list[str] | None, typer.Option("--batch-fault", help="KIND:RATE, or KIND:RATExTIMES; repeatable.")
    ] = None,
    flex_unavailable: Annotated[
        float, typer.Option("--flex-unavailable", help="Share of flex requests that are refused.")
    ] = 0.0,
    org: Annotated[
        list[str] | None, typer.Option(help="KEY=ORGANISATION: its keys share one set of limits; repeatable.")
    ] = None,
    no_quality: Annotated[bool, typer.Option("--no-quality", help="Always give the best answer there is.")] = False,
    key: Annotated[
        list[str] | None, typer.Option(help="Accept this key only; repeatable. Any key is accepted otherwise.")
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let --host be an address that others can reach.")
    ] = False,
) -> None:
    """Play an OpenAI-compatible provider: latency, limits, faults and a bill, but no model and no key.

    \b
    headway sim                            # tier-5 limits, http://127.0.0.1:8181/v1
    headway sim --rpm 3000 --capacity-s 1  # 3,000 a minute, enforced as 50 a second
    headway sim --fault 429:0.02 --fault reset:0.001
    headway sim --fault 503:1@60-90        # an outage from second 60 to 90
    headway sim --latency-scale 0 --no-quality
    headway sim --batch-scale 0.001 --batch-fault row_500:0.03
    """  # noqa: D301  # \b keeps the examples' lines apart
    try:
        _check_host(host, allow_remote=allow_remote)
        settings = SimSettings(
            rpm=rpm or None,
            tpm=tpm or None,
            capacity_s=capacity_s,
            seed=seed,
            region=region,
            latency_scale=latency_scale,
            faults=tuple(parse_fault(text) for text in fault or ()),
            batches=BatchSettings(
                scale=batch_scale,
                queue_tokens_max=batch_queue,
                faults=tuple(parse_batch_fault(text) for text in batch_fault or ()),
            ),
            flex_unavailable=flex_unavailable,
            organisations=_organisations(org or ()),
            quality=None if no_quality else Quality(),
            api_keys=tuple(key) if key else None,
        )
        simulator = serve_forever(settings, host, port, ready=lambda url: _banner(url, settings))
    except ConfigError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from None
    _totals(simulator)


def _organisations(pairs: Sequence[str]) -> dict[str, str]:
    """Keys and their organisations."""
    found = {}
    for pair in pairs:
        key, equals, name = pair.rpartition("=")
        if not (equals and key and name):
            raise ConfigError(f"--org {pair!r} was not understood; write it like --org sk-one=acme")
        found[key] = name
    return found


def _check_host(host: str, *, allow_remote: bool) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not (loopback or allow_remote):
        raise ConfigError(f"--host {host} can be reached by others; add --allow-remote if that is meant")


def _banner(url: str, settings: SimSettings) -> None:
    """What it is, and how to point a client at it."""
    key = "one of the --key values" if settings.api_keys else "sim"
    limits = ", ".join(
        f"{value:,} {unit}" for value, unit in ((settings.rpm, "requests/min"), (settings.tpm, "tokens/min")) if value
    )
    typer.echo(
        "This is a simulator, not a model: its answers are made from your text by fixed rules.\n"
        f"  limits   {limits or 'none'} ({settings.capacity_s:g} s of refill)\n"
        f"  ledger   {url.removesuffix('/v1')}/sim/ledger\n\n"
        "Point any OpenAI client at it:\n"
        f"  export OPENAI_BASE_URL={url}\n"
        f"  export OPENAI_API_KEY={key if key == 'sim' else repr(key)}\n\n"
        "Ctrl-C ends it and prints the bill."
    )


def _totals(simulator: Simulator) -> None:
    totals = simulator.ledger.totals
    unpriced = f" ({totals.unpriced} attempts of unknown price not included)" if totals.unpriced else ""
    typer.echo(
        f"\n{totals.attempts:,} {'attempt' if totals.attempts == 1 else 'attempts'}:"
        f" {totals.ok:,} answered, {totals.throttled:,} rate-limited,"
        f" {totals.aborted:,} aborted, {totals.failed:,} failed\n"
        f"{totals.input_tokens:,} tokens in ({totals.cached_tokens:,} cached), {totals.output_tokens:,} out;"
        f" ${totals.dollars:,.6f}{unpriced}"
    )
