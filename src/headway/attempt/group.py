"""Small requests of low priority sent several to a prompt, while the provider's limits make requests wait.

Sits between budget and pace. A request that may be grouped (`wire.group`, `policy.grouping`) waits for others that are
the same but for their item: until six are there, at most 50 ms. One request is then sent for all of them, and each gets
an answer in its format's own shape, with its share of the usage; a member that the model left out is sent by itself.
Members are alike in credential, headers, path and every byte but the item, so nothing crosses from one tenant to
another.

What a group took is booked on its members in equal shares, so that dollars add up; whoever leaves before the answer
leaves its share to the others, and the last one to leave takes it all. Members' rows carry the step "grouped" and the
group's id as their parent, where the caller has not set these.
"""

from __future__ import annotations

import asyncio
import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from headway.attempt.billing import bill
from headway.attempt.group_member import Member, Place, Sent, plus
from headway.attempt.line import PREFETCH_PRIORITY
from headway.attempt.pace import Pace, tokens_estimate
from headway.errors import HeadwayError
from headway.policy.grouping import HOLD_RETRY_S, HOLD_S, MEMBERS_MAX, alone, small
from headway.types import Answer, Call, Handler, Outcome, Reply, Trace
from headway.wire import reader_for
from headway.wire.group import answers_in, item_of, merged, split
from headway.wire.prices import Prices
from headway.wire.tokens import estimate_tokens

__all__ = ["Group", "would_wait"]

PLACES_MAX = 256
"""Tasks whose case is remembered."""
WAITING_MAX = 4_096
"""Members of one task that wait for a group; more go by themselves."""
_REFUSED = frozenset((400, 413, 422))
"""What may be due to the merging: the members are asked by themselves."""


class Group:
    """The layer.

    Args:
        next_: The pace layer.
        prices: For what groups save.
        waits: Whether a request would have to wait for the provider's limits.
        always: Whether requests are grouped also while none wait.
    """

    def __init__(self, next_: Handler, prices: Prices, waits: Callable[[Call], bool], *, always: bool = False) -> None:
        self._loop = asyncio.get_running_loop()
        self._next = next_
        self._prices = prices
        self._waits = waits
        self._always = always
        self._places: OrderedDict[tuple[Any, ...], Place] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._groups = self._members = self._fallbacks = self._tokens_saved = 0
        self._dollars_saved = 0.0
        self._why = ""

    async def __call__(self, call: Call) -> Reply:
        place, text = self._place(call)
        if place is None:
            return await self._next(call)
        member = Member(call, text, self._loop)
        place.waiting[member] = None
        call.trace.on_end(lambda trace: self._ended(place, member, trace))
        self._pump(place)
        reply = await member.turn
        return await self._next(call) if reply is None else reply

    def stats(self) -> dict[str, Any]:
        """Live figures: groups sent, their members, how many had to be asked again, and what was saved on the whole.

        `why` is the last reason for which a task was taken back to single requests; `on` whether none is just now.
        """
        return {
            "groups": self._groups,
            "members": self._members,
            "fallbacks": self._fallbacks,
            "tokens_saved": self._tokens_saved,
            "dollars_saved": self._dollars_saved,
            "on": not any(place.case.why for place in self._places.values()),
            "why": self._why,
        }

    async def aclose(self) -> None:
        """End what is under way; its members have left before."""
        for place in self._places.values():
            place.stop_timer()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- who may wait for others -----------------------------------------------------------------------------------

    def _place(self, call: Call) -> tuple[Place | None, str]:
        """Where the request's like are collected, and its item; None: it goes by itself."""
        view = call.view
        if not PREFETCH_PRIORITY < call.priority < 0 or view.stream or view.answers != 1 or not view.reusable:
            return None, ""
        if not small(0, view.output_tokens_max) or not (self._always or self._waits(call)):
            return None, ""
        item, reader = item_of(call.path, call.body), reader_for(call.path)
        if item is None or reader is None or not small(len(item.text), view.output_tokens_max):
            return None, ""
        alike = call.tenant, call.sample, call.headers, call.timeouts  # a gateway's keys differ in the sample
        key = (call.origin, call.path, *alike, item.before, item.after)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = Place(item, reader)
            self._forget()
        else:
            self._places.move_to_end(key)
        if not place.case.on(self._loop.time()) or len(place.waiting) >= WAITING_MAX:
            return None, ""
        return place, item.text

    def _forget(self) -> None:
        """Drop the tasks that were not seen for longest, as far as nothing of them is under way."""
        for key in [key for key, place in self._places.items() if place.idle][: max(0, len(self._places) - PLACES_MAX)]:
            del self._places[key]

    def _pump(self, place: Place, *, due: bool = False) -> None:
        """Send as many groups as may be sent now; `due`: also one that is not full."""
        on = place.case.on(self._loop.time())
        while place.waiting and (not on or place.case.room):
            if on and len(place.waiting) < MEMBERS_MAX and not due:
                again = all(member.call.trace.attempt_index for member in place.waiting)
                due_at_s = self._loop.time() + (HOLD_RETRY_S if again else HOLD_S)
                if place.timer is None or place.timer.when() > due_at_s:
                    place.stop_timer()
                    place.timer = self._loop.call_at(due_at_s, self._due, place)
                return
            members = [place.waiting.popitem(last=False)[0] for _ in range(min(MEMBERS_MAX, len(place.waiting)))]
            if not on or len(members) == 1:
                for member in members:
                    member.go_alone()
            else:
                self._send(place, members)
        if not place.waiting:
            place.stop_timer()

    def _due(self, place: Place) -> None:
        place.timer = None
        self._pump(place, due=True)

    # -- a group ---------------------------------------------------------------------------------------------------

    def _send(self, place: Place, members: list[Member]) -> None:
        calls = [member.call for member in members]
        first = calls[0]
        reader = place.reader
        bounds = [call.view.output_tokens_max or 0 for call in calls]
        body = merged(place.item, [member.text for member in members], reader.bound_fields, sum(bounds))
        trace = Trace("attempt", f"{first.trace.id}.group", self._loop.time(), first.trace.start_wall_s)
        trace.attempt_index = min(call.trace.attempt_index for call in calls)
        call = replace(
            first,
            body=body,
            view=reader.read_request(body, first.headers),
            trace=trace,
            priority=max(each.priority for each in calls),
            deadline_at_s=max(each.deadline_at_s for each in calls),
        )
        sent = Sent(call, members, reader)
        place.case.sent()
        place.groups += 1
        self._groups += 1
        sent.task = task = self._loop.create_task(self._fly(place, sent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fly(self, place: Place, sent: Sent) -> None:
        """Send a group's request and hand out what comes; whatever happens, its members are told."""
        verdict = 0, 0, 0.0
        outcome: Outcome = "abandoned"
        try:
            async with await self._next(sent.call) as reply:
                body = await reply.read()
            answer = sent.reader.read_answer(reply.status, body)
            sent.call.trace.usage = answer.usage
            outcome = "ok" if answer.error is None else answer.error.outcome
            if answer.error is None and answer.complete:
                verdict = self._hand_out(sent, reply, body)
            elif reply.status in _REFUSED or not answer.complete:
                verdict = len(sent.members), len(sent.members), 0.0
            else:
                sent.all_told(reply, body)
        except HeadwayError as error:
            outcome = "connection_lost"
            for member in sent.there():
                member.fail(copy.copy(error))
        finally:
            sent.call.trace.end(outcome, self._loop.time())
            sent.all_alone()  # whoever has nothing yet asks by itself: nobody is left waiting
            place.groups -= 1
            self._judge(place, verdict)

    def _hand_out(self, sent: Sent, reply: Reply, body: bytes) -> tuple[int, int, float]:
        """Give the members that are still there their answers; how many those are, who has none, and what was saved."""
        answers = answers_in(sent.reader.text(body), len(sent.members))
        there = [(member, answer) for member, answer in zip(sent.members, answers, strict=True) if member.there]
        if not there:
            return 0, 0, 0.0
        try:
            parts = split(body, [answer for _, answer in there])
        except ValueError:
            return len(there), len(there), 0.0
        served = []
        for (member, answer), part in zip(there, parts, strict=True):
            if answer is None:
                member.owed = sent.reader.read_answer(200, part).usage
            else:
                member.give(reply, part)
                served.append((member, answer))
        return len(there), len(there) - len(served), self._saved(sent, served)

    def _saved(self, sent: Sent, served: list[tuple[Member, str]]) -> float:
        """Dollars (tokens where the price is unknown) less than single requests would have taken."""
        view, usage = sent.call.view, sent.call.trace.usage
        if usage is None:
            return 0.0
        measure = usage.input_tokens / max(1, view.input_tokens)  # the provider's tokens for one of our estimate
        prompts = round(measure * sum(member.call.view.input_tokens for member, _ in served))
        single = alone(prompts, sum(estimate_tokens(len(text)) for _, text in served), usage, len(served))
        tokens = single.input_tokens + single.output_tokens - usage.input_tokens - usage.output_tokens
        self._tokens_saved += tokens
        rates = self._prices.rates(view.model, sent.call.origin)
        if rates is None:
            return float(tokens)
        dollars = rates.dollars(single) - rates.dollars(usage)
        self._dollars_saved += dollars
        return dollars

    def _judge(self, place: Place, verdict: tuple[int, int, float]) -> None:
        members, fallbacks, saved = verdict
        self._members += members
        self._fallbacks += fallbacks
        place.case.ended(members, fallbacks, saved, self._loop.time())
        self._why = place.case.why or self._why
        self._pump(place)

    def _ended(self, place: Place, member: Member, trace: Trace) -> None:
        """A member's try is over, perhaps before its answer: what it waited, and what is its to pay."""
        now_s = self._loop.time()
        member.waited(now_s)
        place.waiting.pop(member, None)
        if member.owed is not None:
            self._pay(member, trace)
        sent = member.sent
        if sent is None or (member.turn.done() and not member.turn.cancelled()):
            return
        member.left = True
        if not sent.there() and sent.task is not None:
            sent.task.cancel()
            if sent.call.trace.sent_at_s is not None:
                trace.sent_at_s = sent.call.trace.sent_at_s
                outcome: Outcome = trace.outcome or "abandoned"
                bill(replace(sent.call, trace=trace), Answer(), outcome, self._prices, content_bytes=0)

    def _pay(self, member: Member, trace: Trace) -> None:
        """Add a member's share of the group that had no answer for it to what it took by itself."""
        owed, own = member.owed, trace.usage
        assert owed is not None
        trace.usage = owed if own is None else plus(own, owed)
        rates = self._prices.rates(member.call.view.model, member.call.origin)
        if rates is None or trace.dollars is None:
            trace.dollars = None
        else:
            trace.dollars += rates.dollars(owed)


def would_wait(pace: Pace, call: Call, now_s: float) -> bool:
    """Whether the provider's limits would make the request wait."""
    whole, prompt, answer_max = tokens_estimate(call.view)
    return pace.limits(call).wait_s(whole, now_s, prompt, answer_max) > 0.0
