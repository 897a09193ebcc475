"""Many rows: order, bounds, failures, repairs, and leaving early."""

from __future__ import annotations

import asyncio

import pytest

from headway import ConfigError, ConnectFailed, InputError, SyncEngine
from headway.testing import FakeProvider, Step, virtual_run

from .helpers import engine


class Upper:
    """A task whose answers must be upper case."""

    path = "/v1/responses"
    repairs_max = 1
    bears_cutting = False

    def body(self, row):
        if "text" not in row:
            raise InputError("row has no column 'text'; add it")
        return b'{"model":"gpt-5.4-mini","input":"' + row["text"].encode() + b'"}'

    def key_body(self, row):
        return None

    def accept(self, text):
        if not text.isupper():
            raise ValueError(f"{text!r} is not upper case")
        return text

    def repair(self, row, text, problem):
        return b'{"model":"gpt-5.4-mini","input":"again, in upper case"}'


class Staggered(FakeProvider):
    """The first row takes the longest."""

    async def __call__(self, call):
        n = int(call.body.rsplit(b" ", 1)[1][:-2])
        await asyncio.sleep(10.0 / (n + 1))
        return await super().__call__(call)


ROWS = [{"text": f"row {n}"} for n in range(20)]


def run(provider, rows=ROWS, **how):
    async def main():
        async with engine(provider) as e:
            return [result async for result in e.map(rows, Upper(), **how)]

    return virtual_run(main)


def test_results_come_in_input_order():
    """The default: whatever finishes first, row 0 is first."""
    results = run(Staggered([Step(text="OK")]))
    assert [r.index for r in results] == list(range(20))
    assert {r.value for r in results} == {"OK"}


def test_results_come_as_they_complete():
    """order="completed": the quick ones are not held back."""
    results = run(Staggered([Step(text="OK")]), order="completed")
    assert [r.index for r in results] == list(range(19, -1, -1))


@pytest.mark.parametrize("order", ["input", "completed"])
def test_rows_in_flight_are_bounded_and_pulled_lazily(order):
    """Never more than `concurrency` rows are held, however long the input."""
    pulled = given = 0
    most = 0

    def rows():
        nonlocal pulled
        for n in range(100):
            pulled += 1
            yield {"text": f"row {n}"}

    async def main():
        nonlocal given, most
        async with engine(Staggered([Step(text="OK")])) as e:
            async for _ in e.map(rows(), Upper(), order=order, concurrency=7):
                most = max(most, pulled - given)
                given += 1

    virtual_run(main)
    assert given == 100
    assert most <= 8


def test_a_slow_source_does_not_hold_finished_rows_back():
    """A live source may be silent for long; what is done is handed on."""

    async def rows():
        yield {"text": "row 1"}
        await asyncio.sleep(1000)
        yield {"text": "row 2"}

    async def main():
        async with engine(FakeProvider([Step(text="OK")])) as e:
            results = e.map(rows(), Upper())
            first = await anext(results)
            at_s = asyncio.get_running_loop().time()
            rest = [r async for r in results]
            return first.index, at_s, len(rest)

    assert virtual_run(main) == (0, 0.0, 1)


def test_a_row_that_fails_is_a_result_with_its_reason():
    """Nothing is dropped: a bad row, a refusal and a broken provider each end as one result."""
    rows = [{"text": "a"}, {"nothing": 1}, {"text": "b"}]
    results = run(FakeProvider([Step(status=401, text="Incorrect API key provided")]), rows)
    assert [r.outcome for r in results] == ["auth", "input", "auth"]
    assert "401" in results[0].error
    assert "API key" in results[0].error
    assert "column 'text'" in results[1].error


def test_a_malformed_answer_is_repaired_once():
    """The repair says what was wrong, and its tokens are on the row's bill."""
    (result,) = run(FakeProvider([Step(text="lower"), Step(text="UPPER")]), ROWS[:1])
    assert (result.value, result.repairs, result.attempts) == ("UPPER", 1, 2)
    assert result.usage.output_tokens == 4


def test_what_cannot_be_repaired_fails_with_its_reason():
    """Bounded: one repair, then the row says what it got."""
    provider = FakeProvider([Step(text="lower")])
    (result,) = run(provider, ROWS[:1])
    assert result.outcome == "invalid_output"
    assert "'lower' is not upper case" in result.error
    assert provider.calls == 2


def test_an_answer_cut_at_its_bound_is_not_accepted():
    """Half an answer is no answer, and asking again would be cut again."""
    body = b'{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[{"type":"message",'
    body += b'"content":[{"type":"output_text","text":"HALF"}]}]}'
    provider = FakeProvider([Step(body=body)])
    (result,) = run(provider, ROWS[:1])
    assert result.outcome == "invalid_output"
    assert "max_output_tokens" in result.error
    assert provider.calls == 1


def test_leaving_early_ends_the_rest():
    """Closing the iterator cancels what is in flight; no task is left behind."""
    provider = FakeProvider([Step(text="OK", delay_s=1.0)])

    async def main():
        async with engine(provider) as e:
            results = e.map(ROWS, Upper(), concurrency=5)
            await anext(results)
            await results.aclose()
            await asyncio.sleep(0)
            return len(asyncio.all_tasks()), e.snapshot()["in_flight"]

    assert virtual_run(main) == (1, 0)


def test_a_source_that_breaks_says_so_after_what_it_gave():
    """Paid answers are handed on before the error."""

    def rows():
        yield {"text": "a"}
        raise InputError("rows.csv: row 2 cannot be read; mend it")

    seen = []

    async def main():
        async with engine(FakeProvider([Step(text="OK")])) as e:
            async for result in e.map(rows(), Upper()):
                seen.append(result)

    with pytest.raises(InputError, match="row 2"):
        virtual_run(main)
    assert len(seen) == 1


@pytest.mark.parametrize("fault", [KeyError("text"), TypeError("odd"), "\ud800".encode])
@pytest.mark.parametrize("method", ["body", "key_body", "accept", "repair"])
def test_a_task_that_stumbles_over_a_row_fails_that_row_alone(method, fault):
    """Whatever a task's own code raises, the other rows go on, and the row says which method and what."""

    def stumble(*_):
        if callable(fault):
            fault()
        raise fault

    class Stumbling(Upper):
        repairs_max = 0 if method == "accept" else 1

        def body(self, row):
            return stumble() if method == "body" and row["text"] == "row 2" else super().body(row)

        def key_body(self, row):
            return stumble() if method == "key_body" and row["text"] == "row 2" else None

        def accept(self, text):
            if text == "lower" and method == "accept":
                stumble()
            return super().accept(text)

        def repair(self, row, text, problem):
            return stumble()

    class Provider(FakeProvider):
        async def __call__(self, call):
            self._script = [Step(text="lower" if b"row 2" in call.body else "OK")]
            return await super().__call__(call)

    async def main():
        async with engine(Provider()) as e:
            return [result async for result in e.map(ROWS[:5], Stumbling())]

    results = virtual_run(main)
    asked = method in ("accept", "repair")
    assert [r.outcome for r in results] == ["ok", "ok", "invalid_output" if asked else "input", "ok", "ok"]
    refused = method == "accept" and callable(fault)  # a ValueError is the task's way to say no
    assert refused or (type(fault).__name__ if not callable(fault) else "UnicodeEncodeError") in results[2].error
    assert refused or method in results[2].error
    assert results[2].attempts == asked


def test_a_failed_row_says_what_it_waited_and_how_often_it_was_tried():
    """Errors carry their call's trace: our queue and three tries are not zero."""
    (result,) = run(FakeProvider([ConnectFailed("down")]), ROWS[:1])
    assert (result.outcome, result.attempts) == ("connect_failed", 3)
    assert 0.0 < result.wait_s <= result.latency_s


def test_a_mistake_in_the_program_is_raised_at_once():
    """A wrong path is wrong for every row: the map says so instead of failing them one by one."""

    class Lost(Upper):
        path = "v1/responses"

    async def main():
        async with engine(FakeProvider()) as e:
            return [result async for result in e.map(ROWS, Lost())]

    with pytest.raises(ConfigError, match="must start with a slash"):
        virtual_run(main)


def test_leaving_early_closes_the_source():
    """An async source has let go of its files when `aclose()` returns."""
    closed = []

    async def rows():
        try:
            while True:
                yield {"text": "a"}
        finally:
            await asyncio.sleep(1)
            closed.append(asyncio.get_running_loop().time())

    async def main():
        async with engine(FakeProvider([Step(text="OK")])) as e:
            results = e.map(rows(), Upper(), concurrency=3)
            await anext(results)
            await results.aclose()
            return list(closed)

    assert virtual_run(main) == [1.0]


def test_concurrency_is_checked():
    """A bound of nothing is a mistake."""
    with pytest.raises(ConfigError, match="concurrency"):
        run(FakeProvider(), concurrency=0)


def test_the_sync_twin_gives_the_same():
    """From ordinary code: the same engine on a loop in the background, and its thread ends with it."""
    import threading

    before = threading.active_count()
    with SyncEngine(handler=FakeProvider([Step(text="OK")]), log="off", api_key="k") as e:
        results = list(e.map(ROWS, Upper()))
        reply = e.send("/v1/responses", {"model": "gpt-5.4-mini", "input": "x"})
        assert e.snapshot()["in_flight"] == 0
    assert [r.index for r in results] == list(range(20))
    assert reply.body
    assert threading.active_count() == before
    e.close()


def test_the_sync_twin_can_be_left_early():
    """Breaking out of the loop ends the rest."""
    with SyncEngine(handler=FakeProvider([Step(text="OK")]), log="off", api_key="k") as e:
        for _ in e.map(ROWS, Upper(), concurrency=2):
            break
        assert e.snapshot()["in_flight"] == 0
