"""Who waits in a group, where, and what is under way for them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from msgspec.structs import replace

from headway.policy.grouping import GroupingCase
from headway.types import Call, Reply, Usage
from headway.wire.base import Reader
from headway.wire.group import Item

__all__ = ["Member", "Place", "Sent", "plus"]

_SHARED = (
    "connect_s", "first_byte_at_s", "provider_estimated", "provider_processing_s", "provider_queue_s", "request_id",
    "retry_after_s", "sent_at_s",
)  # fmt: skip


class Member:
    """One request that waits for others like it. `turn` gives its reply, or None: it goes by itself."""

    __slots__ = ("_entered_at_s", "call", "left", "owed", "sent", "text", "turn")

    def __init__(self, call: Call, text: str, loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.text = text
        self.turn: asyncio.Future[Reply | None] = loop.create_future()
        self.sent: Sent | None = None
        self.owed: Usage | None = None
        """Its share of a group that had no answer for it."""
        self.left = False
        self._entered_at_s: float | None = loop.time()

    @property
    def there(self) -> bool:
        """Whether it still waits for its answer."""
        return not self.left and not self.turn.done()

    def waited(self, until_s: float) -> None:
        """Book the wait, once."""
        if self._entered_at_s is not None:
            self.call.trace.wait_s += max(0.0, until_s - self._entered_at_s)
            self._entered_at_s = None

    def go_alone(self) -> None:
        """There is no answer for it in a group."""
        if self.there:
            self.waited(self.turn.get_loop().time())
            self.call.trace.hurry = None
            self.turn.set_result(None)

    def fail(self, error: Exception) -> None:
        """The group's request failed without an answer."""
        if self.there:
            self._took_part()
            self.turn.set_exception(error)

    def give(self, reply: Reply, body: bytes) -> None:
        """Its reply, with a body of its own."""
        if self.there:
            self._took_part()
            headers = tuple(pair for pair in reply.headers if pair[0] not in ("content-length", "content-encoding"))
            self.turn.set_result(Reply(reply.status, headers, body))

    def _took_part(self) -> None:
        """What is true of the group's request is true of its members'."""
        assert self.sent is not None
        group, trace = self.sent.call.trace, self.call.trace
        self.waited(group.sent_at_s if group.sent_at_s is not None else self.turn.get_loop().time())
        for name in _SHARED:
            setattr(trace, name, getattr(group, name))
        tags = trace.tags
        trace.tags = replace(tags, step=tags.step or "grouped", parent=tags.parent or group.id)


class Sent:
    """A group's request under way, and whom it is for."""

    __slots__ = ("call", "members", "reader", "task")

    def __init__(self, call: Call, members: list[Member], reader: Reader) -> None:
        self.call = call
        self.reader = reader
        self.members = members
        self.task: asyncio.Task[None] | None = None
        for member in members:
            member.sent = self
            member.call.trace.hurry = self._hurry

    def there(self) -> list[Member]:
        """The members that still wait."""
        return [member for member in self.members if member.there]

    def all_alone(self) -> None:
        """No answer is to be had this way."""
        for member in self.there():
            member.go_alone()

    def all_told(self, reply: Reply, body: bytes) -> None:
        """An answer that is the same for all of them: a refusal."""
        for member in self.there():
            member.give(reply, body)

    def _hurry(self, priority: float, deadline_at_s: float) -> None:
        if self.call.trace.hurry is not None:
            self.call.trace.hurry(priority, deadline_at_s)


class Place:
    """Where the requests of one task are collected."""

    __slots__ = ("case", "groups", "item", "reader", "timer", "waiting")

    def __init__(self, item: Item, reader: Reader) -> None:
        self.item = item
        self.reader = reader
        self.case = GroupingCase()
        self.waiting: OrderedDict[Member, None] = OrderedDict()
        self.groups = 0
        """Under way."""
        self.timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing is under way."""
        return not self.waiting and not self.groups

    def stop_timer(self) -> None:
        """Do not send a group that is not full."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def plus(a: Usage, b: Usage) -> Usage:
    """Both together."""
    counts = {name: getattr(a, name) + getattr(b, name) for name in Usage.__struct_fields__ if name != "estimated"}
    return Usage(**counts, estimated=a.estimated or b.estimated)
