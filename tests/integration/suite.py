"""What is asked of every official SDK over Headway, with the simulator as the provider, over real HTTP.

A `Door` is one SDK's sync or async client. `Suite` asks each door for a plain, a streamed, a tool and a structured
answer, and looks into the simulator's books to see what was really sent. Needs nothing but pytest, Headway and the SDK.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pydantic
import pytest

import headway
from headway.sim.account import credential_of

__all__ = ["TOOL_NAME", "TOOL_PARAMETERS", "Door", "Suite", "Ticket"]

TOOL_NAME = "get_weather"
TOOL_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ATTEMPTS_MAX = 3


class Ticket(pydantic.BaseModel):
    """What structured answers are."""

    category: str
    urgent: bool


class Door:
    """One SDK's client. Its methods may be coroutines; `fault` goes into the header `x-sim-fault` where it is not ""."""

    asynchronous: ClassVar[bool] = False
    """Which of Headway's clients it takes."""
    family: ClassVar[str] = "httpx2"

    def __init__(self, url: str, key: str, http: Any) -> None:
        """Make the client.

        Args:
            url: The provider's address, without a path.
            key: The API key.
            http: Headway's client, for the one line; None for the SDK as it comes.
        """
        raise NotImplementedError

    def plain(self, prompt: str, fault: str = "") -> Any:
        """The answer's text."""
        raise NotImplementedError

    def stream(self, prompt: str, fault: str = "") -> Any:
        """The same, of a streamed answer."""
        raise NotImplementedError

    def tool(self, prompt: str) -> Any:
        """The arguments of the call to `TOOL_NAME` that is demanded, as a dict."""
        raise NotImplementedError

    def structured(self, prompt: str) -> Any:
        """A `Ticket`."""
        raise NotImplementedError

    def close(self) -> Any:
        """Let go of the client; the HTTP client that was given is closed elsewhere."""


Ask = Callable[..., Any]


@contextmanager
def opened(kind: type[Door], url: str, key: str, *, bare: bool = False, **settings: Any) -> Iterator[Ask]:
    """A door's methods by name, `ask("plain", prompt)`, all on one loop where they are coroutines."""
    make: Any = headway.async_client if kind.asynchronous else headway.client
    with asyncio.Runner() as runner:

        def run(value: Any) -> Any:
            async def wait() -> Any:
                return await value

            return runner.run(wait()) if inspect.isawaitable(value) else value

        http = None if bare else make(family=kind.family, log="off", attempts_max=ATTEMPTS_MAX, **settings)
        door = kind(url, key, http)
        try:
            yield lambda method, *args: run(getattr(door, method)(*args))
        finally:
            run(door.close())
            if http is not None:
                run(http.aclose() if kind.asynchronous else http.close())


class Suite:
    """The tests; a subclass names its doors."""

    doors: ClassVar[tuple[type[Door], ...]]
    error: ClassVar[type[Exception]]
    """What the SDK raises for a 503."""
    read: ClassVar[bool] = True
    """Whether a wire reader knows its requests; others pass through untouched."""
    tool_requests: ClassVar[int] = 1
    """How many requests a tool call takes; an agent's goes on with the tool's result."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every test is run with every door."""
        if "kind" in metafunc.fixturenames:
            metafunc.parametrize("kind", self.doors, ids=[door.__name__ for door in self.doors])

    @pytest.fixture
    def key(self, request: pytest.FixtureRequest) -> str:
        """A key of the test's own: its lines in the books."""
        return f"sim-{request.node.nodeid.rpartition('/')[2]}"

    @pytest.fixture
    def prompt(self, key: str) -> str:
        """A question that no other test asks."""
        return f"Write 12 words. ({key})"

    def attempts(self, url: str, key: str) -> list[dict[str, Any]]:
        """What the simulator booked for a key."""
        with urllib.request.urlopen(f"{url}/sim/ledger", timeout=10) as reply:
            rows = json.load(reply)["rows"]
        return [row for row in rows if row["credential"] == credential_of(key)]

    def test_the_same_answers_as_without_headway(self, kind: type[Door], simulator: str, key: str, prompt: str) -> None:
        """Plain and streamed text are those of the SDK alone; streamed is plain; tools and schemas parse."""
        with opened(kind, simulator, key, bare=True) as ask:
            bare = ask("plain", prompt)
            assert ask("stream", prompt) == bare
            assert ask("tool", "Paris") == {"city": "Paris"}
        with opened(kind, simulator, key) as ask:
            assert ask("plain", prompt) == bare != ""
            assert ask("stream", prompt) == bare
            assert ask("tool", "Paris") == {"city": "Paris"}
            assert isinstance(ask("structured", prompt), Ticket)
        rows = self.attempts(simulator, key)
        assert {row["outcome"] for row in rows} == {"ok"}
        assert len(rows) == 5 + 2 * self.tool_requests

    def test_asked_again_is_answered_from_the_cache(
        self, kind: type[Door], simulator: str, key: str, prompt: str
    ) -> None:
        """The second identical call, and the same call streamed, cost nothing at the provider."""
        if not self.read:
            pytest.skip("no wire reader knows this format: it passes through, uncached")
        with opened(kind, simulator, key, cache=True) as ask:
            first = ask("plain", prompt)
            assert ask("plain", prompt) == first
            assert ask("stream", prompt) == first
        assert len(self.attempts(simulator, key)) == 1

    def test_a_stream_is_stored_for_the_next_one(
        self, kind: type[Door], simulator: str, key: str, prompt: str
    ) -> None:  # fmt: skip
        """Streamed first, then streamed and plain: one attempt."""
        if not self.read:
            pytest.skip("no wire reader knows this format: it passes through, uncached")
        with opened(kind, simulator, key, cache=True) as ask:
            first = ask("stream", prompt)
            assert ask("stream", prompt) == first
            assert ask("plain", prompt) == first
        assert len(self.attempts(simulator, key)) == 1

    def test_a_429_and_a_503_are_invisible(self, kind: type[Door], simulator: str, key: str, prompt: str) -> None:
        """Refused once, then answered: the caller sees the answer, the books see both, plain and streamed."""
        if not self.read:
            pytest.skip("no wire reader knows this format: trying again is its SDK's own affair")
        with opened(kind, simulator, key) as ask:
            assert ask("stream", prompt, "503x1")
            assert ask("plain", prompt + " Again.", "429x1")
        assert [row["outcome"] for row in self.attempts(simulator, key)] == ["503", "ok", "429", "ok"]

    def test_a_final_error_is_the_sdks_own(self, kind: type[Door], simulator: str, key: str, prompt: str) -> None:
        """The SDK raises its own exception, and nobody has tried more often than Headway was told to."""
        with opened(kind, simulator, key) as ask, pytest.raises(self.error):
            ask("plain", prompt, "503")
        rows = self.attempts(simulator, key)
        assert {row["outcome"] for row in rows} == {"503"}
        if self.read:
            assert len(rows) == ATTEMPTS_MAX
