"""The official SDKs' clients for files and batches, over HTTP."""

from __future__ import annotations

import json
import urllib.request

import anthropic
import openai
import pytest

from headway.sim import BatchSettings, SimSettings, parse_batch_fault, serving
from tests.sim.helpers import CHAT, lines, ticket

ROWS = 200
FAST = BatchSettings(scale=0, faults=(parse_batch_fault("row_500:0.1"),))


@pytest.fixture(scope="module")
def url():
    """One simulator for all tests here; batches are done at once."""
    with serving(SimSettings(latency_scale=0, quality=None, batches=FAST)) as base_url:
        yield base_url


@pytest.fixture
def client(url):
    """The official SDK, without retries of its own."""
    with openai.OpenAI(base_url=url, api_key="sim", max_retries=0) as made:
        yield made


def books(url: str) -> dict:
    """The ledger, over HTTP."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/sim/ledger", timeout=10) as reply:
        return json.load(reply)


def test_openai_files_and_batches(url, client):
    """Upload, create, retrieve, read both files, list, delete: the objects parse; the books hold what was run."""
    file = client.files.create(file=("in.jsonl", lines([ticket(n) for n in range(ROWS)])), purpose="batch")
    assert client.files.retrieve(file.id).bytes == file.bytes
    made = client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"run": "0a1b"}
    )
    batch = client.batches.retrieve(made.id)
    assert (batch.status, batch.metadata) == ("completed", {"run": "0a1b"})
    good = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    bad = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert {row["custom_id"] for row in good + bad} == {f"r{n}" for n in range(ROWS)}
    assert (batch.request_counts.completed, batch.request_counts.failed) == (len(good), len(bad))
    parsed = openai.types.chat.ChatCompletion.model_validate(good[0]["response"]["body"])
    assert parsed.choices[0].message.content == "shipping"
    assert batch.usage.total_tokens == sum(row["response"]["body"]["usage"]["total_tokens"] for row in good)
    assert [each.id for each in client.batches.list(limit=1)] == [batch.id]
    assert {each.id for each in client.files.list()} >= {file.id, batch.output_file_id, batch.error_file_id}
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)
    paid = [row for row in books(url)["rows"] if row["batch"] == batch.id and row["outcome"] == "ok"]
    assert sorted(row["custom_id"] for row in paid) == sorted(row["custom_id"] for row in good)


def test_openai_batches_that_fail(client):
    """A duplicate id is in `errors`; a wrong endpoint is an exception."""
    rows = lines([ticket(1)])
    file = client.files.create(file=("in.jsonl", rows + rows), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    batch = client.batches.retrieve(batch.id)
    assert (batch.status, batch.errors.data[0].code, batch.errors.data[0].line) == ("failed", "duplicate_custom_id", 2)
    with pytest.raises(openai.BadRequestError):
        client.batches.create(input_file_id="file-none", endpoint=CHAT, completion_window="24h")


def test_anthropic_batches(url):
    """Create, retrieve, results, list, cancel, delete."""
    params = {
        "model": "claude-haiku-4-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Write 9 words."}],
    }
    with anthropic.Anthropic(base_url=url.removesuffix("/v1"), api_key="sim", max_retries=0) as client:
        asked = [{"custom_id": f"r{n}", "params": params} for n in range(50)]
        batch = client.messages.batches.create(requests=asked)
        batch = client.messages.batches.retrieve(batch.id)
        assert batch.processing_status == "ended"
        found = {each.custom_id: each.result for each in client.messages.batches.results(batch.id)}
        assert set(found) == {f"r{n}" for n in range(50)}
        good = [result for result in found.values() if result.type == "succeeded"]
        assert len(good) == batch.request_counts.succeeded
        assert len(good[0].message.content[0].text.split()) == 9
        errors = [result for result in found.values() if result.type == "errored"]
        assert errors[0].error.error.type == "api_error"
        assert [each.id for each in client.messages.batches.list()] == [batch.id]
        assert client.messages.batches.cancel(batch.id).processing_status == "ended"
        assert client.messages.batches.delete(batch.id).type == "message_batch_deleted"
        with pytest.raises(anthropic.NotFoundError):
            client.messages.batches.retrieve(batch.id)


def test_a_lost_reply_is_a_dropped_connection():
    """The client sees no answer; the batch is in the list."""
    lost = BatchSettings(scale=0, faults=(parse_batch_fault("create_lost:1x1"),))
    with (
        serving(SimSettings(latency_scale=0, batches=lost)) as base_url,
        openai.OpenAI(base_url=base_url, api_key="sim", max_retries=0) as client,
    ):
        file = client.files.create(file=("in.jsonl", lines([ticket(1)])), purpose="batch")
        with pytest.raises(openai.APIConnectionError):
            client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"run": "7"})
        (found,) = client.batches.list()
        assert (found.metadata, found.input_file_id) == ({"run": "7"}, file.id)


def test_large_uploads_and_large_batches_have_limits_of_their_own():
    """A file over the limit of other bodies goes through; one over its own limit is a 413."""
    small = BatchSettings(scale=0, upload_bytes_max=3_000_000, message_bytes_max=1_000)
    with (
        serving(SimSettings(latency_scale=0, body_bytes_max=1_000, batches=small)) as base_url,
        openai.OpenAI(base_url=base_url, api_key="sim", max_retries=0) as client,
        anthropic.Anthropic(base_url=base_url.removesuffix("/v1"), api_key="sim", max_retries=0) as other,
    ):
        assert client.files.create(file=("in.jsonl", b"x" * 2_000_000), purpose="batch").bytes == 2_000_000
        with pytest.raises(openai.APIStatusError) as caught:
            client.files.create(file=("in.jsonl", b"x" * 4_000_000), purpose="batch")
        assert caught.value.status_code == 413
        with pytest.raises(anthropic.APIStatusError) as refused:
            other.messages.batches.create(requests=[{"custom_id": "a", "params": {"model": "x" * 2_000}}])  # type: ignore[typeddict-item]
        assert refused.value.status_code == 413
