"""Anthropic's Message Batches: one body in, one stream of results out, and an error's type for a status."""

import json

import pytest

from headway.wire import batch_format_for

BATCHES = batch_format_for("/v1/messages")
BODY = b'{"model":"claude","max_tokens":16,"messages":[]}'


def batch(**fields):
    fields = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "in_progress"} | fields
    return BATCHES.read_batch(json.dumps(fields).encode())


def row(**result):
    return BATCHES.read_line(json.dumps({"custom_id": "r-1", "result": result}).encode())


def test_the_create_holds_the_rows():
    """There is no upload, and no place for metadata."""
    lines = [BATCHES.line(f"r{n}", BODY) for n in range(3)]
    assert BATCHES.upload(lines) is None
    create = BATCHES.create(lines=lines, metadata={"run": "1f"})
    assert create.path == "/v1/messages/batches"
    assert json.loads(create.body) == {
        "requests": [{"custom_id": f"r{n}", "params": json.loads(BODY)} for n in range(3)]
    }
    assert len(create.body) == sum(len(line) + 1 for line in lines) + len('{"requests":[]}') - 1
    assert not BATCHES.has_metadata


def test_what_a_batch_says():
    """Times become Unix seconds; the results' address is made here, whatever address the provider names."""
    view = batch(
        processing_status="ended",
        created_at="2024-08-20T18:37:24.100435Z",
        expires_at="2024-08-21T18:37:24Z",
        request_counts={"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 1},
        results_url="https://elsewhere.example/steal",
    )
    assert view.ended
    assert view.created_wall_s == pytest.approx(1724179044.100435)
    assert view.expires_wall_s == 1724265444.0
    assert view.counts["succeeded"] == 2
    assert [one.path for one in BATCHES.results(view)] == ["/v1/messages/batches/msgbatch_1/results"]


@pytest.mark.parametrize("state", ["in_progress", "canceling", "a new word"])
def test_states_that_go_on(state):
    """There is nothing to fetch before the end."""
    view = batch(processing_status=state)
    assert not view.ended
    assert BATCHES.results(view) == ()


def test_results_that_are_gone():
    """An archived batch has ended, and has no results any more."""
    view = batch(processing_status="ended", archived_at="2024-09-20T18:37:24Z")
    assert view.ended
    assert BATCHES.results(view) == ()


def test_a_row_that_was_answered():
    """The message is the provider's bytes, as they stand in the line."""
    message = b'{"id": "msg_1",  "content":[{"type":"text","text":"\\u00e9"}] }'
    found = BATCHES.read_line(b'{"custom_id":"r-1","result":{"type":"succeeded","message":' + message + b"}}")
    assert (found.custom_id, found.status, found.body, found.error_code) == ("r-1", 200, message, "")


@pytest.mark.parametrize(
    ("kind", "status", "retryable"),
    [
        ("invalid_request_error", 400, False),
        ("authentication_error", 401, False),
        ("billing_error", 402, False),
        ("request_too_large", 413, False),
        ("rate_limit_error", 429, True),
        ("api_error", 500, True),
        ("overloaded_error", 529, True),
        ("a new error", 500, True),
    ],
)
def test_a_row_that_failed(kind, status, retryable):
    """Its body is what the request by itself would have been answered with; its status follows from the error's type."""
    error = {"type": "error", "error": {"type": kind, "message": "why"}, "request_id": "req_1"}
    found = row(type="errored", error=error)
    assert (found.status, found.error_code, found.retryable, found.message) == (status, kind, retryable, "why")
    assert json.loads(found.body) == error
    assert found.request_id == "req_1"


@pytest.mark.parametrize("kind", ["expired", "canceled"])
def test_a_row_that_did_not_run(kind):
    """It is owed as before."""
    found = row(type=kind)
    assert (found.status, found.body, found.error_code, found.retryable) == (0, b"", f"batch_{kind}", True)
    assert (found.expired, found.canceled) == (kind == "expired", kind == "canceled")


@pytest.mark.parametrize("result", [{"type": "succeeded"}, {"type": "succeeded", "message": None}, {"type": "new"}])
def test_a_row_that_says_nothing(result):
    """It is left to reconciliation."""
    assert row(**result) is None


@pytest.mark.parametrize(
    ("status", "kind", "message", "over"),
    [
        (429, "rate_limit_error", "This request would exceed your limit of batch requests in the queue", True),
        (429, "rate_limit_error", "requests per minute", True),
        (400, "invalid_request_error", "Your credit balance is too low to access the API", False),
        (413, "request_too_large", "too large", False),
        (529, "overloaded_error", "Overloaded", False),
    ],
)
def test_a_create_that_is_refused(status, kind, message, over):
    """Limits pass, an empty account and a mistake do not."""
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    assert BATCHES.over_queue(status, body) is over


def test_pages_of_a_list():
    """The cursor is `after_id`, while there is more."""
    page = {"data": [{"id": "b1", "processing_status": "ended"}], "last_id": "b1", "has_more": True}
    views, cursor = BATCHES.read_list(json.dumps(page).encode())
    assert [view.id for view in views] == ["b1"]
    assert BATCHES.list(after=cursor).path == "/v1/messages/batches?limit=100&after_id=b1"
