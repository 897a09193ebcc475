"""OpenAI's Batch API: the upload, the states, and rows that were answered, failed, expired or never ran."""

import email
import json

import pytest

from headway.wire import batch_format_for

BATCHES = batch_format_for("/v1/chat/completions")
BODY = b'{"model":"m","messages":[]}'


def batch(**fields):
    return BATCHES.read_batch(
        json.dumps({"id": "batch_1", "object": "batch", "status": "in_progress"} | fields).encode()
    )


def row(**fields):
    return BATCHES.read_line(json.dumps({"id": "batch_req_1", "custom_id": "r-1"} | fields).encode())


def answered(status, body):
    return row(response={"status_code": status, "request_id": "req_1", "body": body}, error=None)


def test_the_upload_is_a_form_with_purpose_and_file():
    """A form parser that is not ours finds both fields, and the file's lines as they were."""
    lines = [BATCHES.line(f"r{n}", BODY) for n in range(3)]
    upload = BATCHES.upload(lines, name="run-1f.0")
    (kind,) = [value for name, value in upload.headers if name == "content-type"]
    form = email.message_from_bytes(b"content-type: " + kind.encode() + b"\r\n\r\n" + upload.body)
    purpose, file = form.get_payload()
    assert purpose.get_param("name", header="content-disposition") == "purpose"
    assert purpose.get_payload() == "batch"
    assert file.get_param("name", header="content-disposition") == "file"
    assert file.get_filename() == "run-1f.0.jsonl"
    assert file.get_payload(decode=True) == b"".join(line + b"\n" for line in lines)
    assert json.loads(lines[0]) == {
        "custom_id": "r0",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": json.loads(BODY),
    }


def test_the_create():
    """It names the file, the endpoint, the window, and what the batch is to be found again by."""
    create = BATCHES.create(file_id="file-1", metadata={"run": "1f", "parcel": "3"})
    assert json.loads(create.body) == {
        "input_file_id": "file-1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"run": "1f", "parcel": "3"},
    }
    assert "metadata" not in json.loads(BATCHES.create(file_id="file-1").body)
    assert BATCHES.read_file_id(b'{"id":"file-1","object":"file"}') == "file-1"
    assert BATCHES.read_file_id(b'{"error":{}}') == ""


@pytest.mark.parametrize("state", ["validating", "in_progress", "finalizing", "cancelling", "a new word"])
def test_states_that_go_on(state):
    """More may come; an unknown state does too, for rows must not be given up."""
    assert not batch(status=state).ended


@pytest.mark.parametrize("state", ["completed", "failed", "expired", "cancelled"])
def test_states_that_end(state):
    """All of them may have output, and errors, to fetch."""
    view = batch(status=state, output_file_id="file-o", error_file_id="file-e")
    assert view.ended
    assert [one.path for one in BATCHES.results(view)] == ["/v1/files/file-o/content", "/v1/files/file-e/content"]
    assert all(one.method == "GET" for one in BATCHES.results(view))
    assert BATCHES.results(batch(status=state, error_file_id="file-e"))[0].path == "/v1/files/file-e/content"
    assert BATCHES.results(batch(status=state)) == ()


def test_what_a_batch_says():
    """Times in Unix seconds, its metadata, and its counts as told."""
    view = batch(
        created_at=1711471533,
        expires_at=1711557933,
        metadata={"run": "1f"},
        request_counts={"total": 10, "completed": 1, "failed": 0},
    )
    assert (view.created_wall_s, view.expires_wall_s) == (1711471533.0, 1711557933.0)
    assert view.metadata == {"run": "1f"}
    assert view.counts == {"total": 10, "completed": 1, "failed": 0}
    assert batch(metadata=None, errors=None).metadata == {}


def test_a_failure_for_want_of_room_in_the_queue():
    """The first form of over-queue: the batch is created, then fails; the text tells the limit."""
    message = (
        "Enqueued token limit reached for gpt-4o-mini in organization org-1. Limit: 2,000,000 enqueued tokens. "
        "Please try again once some in_progress batches have been completed."
    )
    errors = {"object": "list", "data": [{"code": "token_limit_exceeded", "line": None, "message": message}]}
    view = batch(status="failed", errors=errors)
    assert view.over_queue
    assert view.queue_tokens_max == 2_000_000
    assert view.errors[0].code == "token_limit_exceeded"


def test_a_failure_of_the_input():
    """It says which line, and is no reason to wait."""
    errors = {
        "data": [{"code": "invalid_json_line", "line": 3, "message": "This line is not parseable", "param": None}]
    }
    view = batch(status="failed", errors=errors)
    assert not view.over_queue
    (error,) = view.errors
    assert (error.code, error.line) == ("invalid_json_line", 3)


@pytest.mark.parametrize(
    ("status", "error", "over"),
    [
        (429, {"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}, True),
        (400, {"code": None, "message": "Enqueued token limit reached for m. Limit: 90,000 enqueued tokens."}, True),
        (429, {"code": "rate_limit_exceeded", "message": "Rate limit reached for requests"}, False),
        (429, {"code": "insufficient_quota", "message": "You exceeded your current quota"}, False),
        (429, {"code": "billing_hard_limit_reached", "message": "Enqueued tokens cost money"}, False),
        (400, {"code": "invalid_file", "message": "no such file"}, False),
        (200, {"code": "token_limit_exceeded"}, False),
    ],
)
def test_a_create_that_is_refused(status, error, over):
    """The second form of over-queue is told apart from throttles, from empty accounts and from mistakes."""
    assert BATCHES.over_queue(status, json.dumps({"error": error}).encode()) is over


def test_a_row_that_was_answered():
    """The answer is the provider's bytes, as they stand in the line."""
    body = b'{"id": "chatcmpl-1",  "choices":[{"message":{"content":"\\u00e9"}}] }'
    line = b'{"id":"x","custom_id":"r-1","response":{"status_code":200,"request_id":"req_1","body":' + body + b"}}"
    found = BATCHES.read_line(line)
    assert (found.custom_id, found.status, found.request_id, found.error_code) == ("r-1", 200, "req_1", "")
    assert found.body == body


@pytest.mark.parametrize(
    ("status", "error", "retryable"),
    [
        (400, {"code": "context_length_exceeded", "message": "too long"}, False),
        (429, {"code": "rate_limit_exceeded", "message": "slow down"}, True),
        (429, {"code": "insufficient_quota", "message": "no money"}, False),
        (500, {"type": "server_error", "message": "oops"}, True),
    ],
)
def test_a_row_that_failed(status, error, retryable):
    """As the request by itself would have: status, body, the provider's code, and whether another try may help."""
    found = answered(status, {"error": error})
    assert (found.status, found.error_code, found.retryable) == (status, error.get("code", "server_error"), retryable)
    assert json.loads(found.body) == {"error": error}
    assert not found.expired


@pytest.mark.parametrize("body", [None, "plain text", {}])
def test_a_failed_row_with_a_strange_body(body):
    """Its status is enough."""
    found = answered(500, body)
    assert (found.status, found.error_code, found.retryable) == (500, "500", True)


def test_a_row_without_its_answer():
    """A 200 that lacks its body is no answer, and may be had by another try."""
    found = answered(200, None)
    assert (found.status, found.retryable) == (0, True)


@pytest.mark.parametrize(
    ("code", "retryable", "expired", "canceled"),
    [
        ("batch_expired", True, True, False),
        ("batch_cancelled", True, False, True),
        ("request_timeout", True, False, False),
        ("server_error", True, False, False),
        ("invalid_request", False, False, False),
    ],
)
def test_a_row_that_did_not_run(code, retryable, expired, canceled):
    """Expired and cancelled rows are owed as before."""
    found = row(response=None, error={"code": code, "message": "why"})
    assert (found.status, found.body, found.error_code, found.message) == (0, b"", code, "why")
    assert (found.retryable, found.expired, found.canceled) == (retryable, expired, canceled)


def test_a_row_that_says_nothing():
    """Neither an answer nor an error: it is left to reconciliation."""
    assert row(response=None, error=None) is None


def test_pages_of_a_list():
    """Batches that can be read, and the cursor while there is more."""
    page = {"data": [{"id": "b1", "status": "completed"}, {"id": 7}, {"id": "b2", "status": "x"}], "last_id": "b2"}
    views, cursor = BATCHES.read_list(json.dumps(page | {"has_more": True}).encode())
    assert [view.id for view in views] == ["b1", "b2"]
    assert cursor == "b2"
    assert BATCHES.list(after=cursor, limit=20).path == "/v1/batches?limit=20&after=b2"
    assert BATCHES.read_list(json.dumps(page | {"has_more": False}).encode())[1] == ""
