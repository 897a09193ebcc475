"""`headway serve`: the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from headway.cli.ending import exits

__all__ = ["serve"]

_HELP = """
Serve the engine to programs in any language: an address that speaks OpenAI's and Anthropic's APIs.

Point a client's base URL at it. The provider's key comes from this process's environment, never from a client. \
Without keys of its own (`headway keys create`) the gateway answers to this machine only. Once there is one, every \
request needs one.

It ends on Ctrl-C or SIGTERM, when what is being answered is answered. A second signal ends it at once. On SIGHUP it \
reads its configuration anew, without dropping a request; where that is wrong, it says so and goes on with the old one.

Examples:

  headway serve                                        # OPENAI_API_KEY, http://127.0.0.1:8080/v1

  headway serve --base-url http://127.0.0.1:8181/v1    # in front of `headway sim`

  headway serve --host 0.0.0.0                         # for others, who need a key: headway keys create

  headway serve --config headway.toml --check          # what it would do, and why

Exit codes: 0 ended in good order, 2 the call is wrong (a setting, the address).
"""


def serve(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 for any free one.")] = 8080,
    base_url: Annotated[str | None, typer.Option(help="The provider, e.g. http://127.0.0.1:8181/v1.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings; headway.toml if it is there.")] = None,
    keys: Annotated[
        Path | None, typer.Option(help="The file of keys; by default keys.sqlite in the state directory.")
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option("--env-file", help="NAME=value lines, read at the start and with every reload.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Who answers at /stream and /chat where nobody is named; by default the first listed.")
    ] = "",
    cache: Annotated[bool, typer.Option("--cache", help="Reuse kept answers.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.")] = 1,
    loop: Annotated[
        Literal["auto", "asyncio", "uvloop"],
        typer.Option(help="What it runs on; auto: uvloop where it is installed (less CPU), else asyncio."),
    ] = "auto",
    drain_s: Annotated[
        float, typer.Option("--drain-s", min=0.0, help="Seconds that answers may take after the signal to end.")
    ] = 30.0,
    check: Annotated[bool, typer.Option("--check", help="Explain the configuration, and leave.")] = False,
) -> None:
    """Serve the engine to programs in any language."""
    from headway.gateway.hangup import held_back

    with held_back(), exits("serve"):
        from headway.gateway.settings import ServeSettings

        given: dict[str, Any] = {"base_url": base_url, "cache": True if cache else None}
        settings = ServeSettings(
            host=host,
            port=port,
            workers=workers,
            loop=loop,
            drain_s=drain_s,
            config=str(config) if config is not None else "",
            env_file=str(env_file) if env_file is not None else "",
            keys=str(keys) if keys is not None else "",
            model=model,
            engine={key: value for key, value in given.items() if value is not None},
        )
        from headway.gateway.environment import EnvFile
        from headway.gateway.explain import explained, keyless, rootless

        env = EnvFile(settings.env_file)
        env.load()
        for sentence in rootless(settings):
            typer.echo(f"headway serve: {sentence}", err=True)
        if check:
            typer.echo(explained(settings))
            return
        for sentence in keyless(settings):
            typer.echo(f"headway serve: {sentence}", err=True)
        env.put_back({})  # each process reads it for itself, to know what to undo
        from headway.gateway.workers import serve_forever

        serve_forever(settings, ready=lambda url: typer.echo(_line(url)))


serve.__doc__ = _HELP


def _line(url: str) -> str:
    return f"Headway serves {url}/v1; point a client at it: OPENAI_BASE_URL={url}/v1 or ANTHROPIC_BASE_URL={url}"
