"""Refusals of our own read like the provider's."""

from __future__ import annotations

import json

import pytest

from headway.wire import reader_for
from headway.wire.refusals import refusal_body, refusal_event

PATHS = ("/v1/chat/completions", "/v1/responses?x=1", "/v1/embeddings", "/v1/messages?beta=true")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("status", "outcome"),
    [(400, "client_error"), (401, "auth"), (404, "client_error"), (429, "throttled"), (502, "server_error")],
)
def test_a_refusal_is_read_by_its_format_s_own_reader(path, status, outcome):
    """Its message, and what it means."""
    reader = reader_for(path)
    assert reader is not None
    error = reader.read_answer(status, refusal_body(path, status, "No such thing.", "word")).error
    assert error is not None
    assert (error.outcome, error.message) == (outcome, "No such thing.")


@pytest.mark.parametrize("path", [path for path in PATHS if "embeddings" not in path])
def test_the_last_event_of_a_broken_stream_is_an_error_event(path):
    """The format's stream reader takes it for one, with its message."""
    reader = reader_for(path)
    assert reader is not None
    stream = reader.open_stream()
    assert stream.feed(refusal_event(path, 502, "It broke off.", "connection_lost")) == "error"
    error = stream.answer().error
    assert error is not None
    assert error.message == "It broke off."


def test_what_belongs_to_the_messages_api_has_its_shape():
    """Also below its path; all else, the unknown included, has OpenAI's."""
    for path in ("/v1/messages/batches", "/v1/messages"):
        found = json.loads(refusal_body(path, 413, "Too large.", "x"))
        assert found == {"type": "error", "error": {"type": "request_too_large", "message": "Too large."}}
    for path in ("", "/v1/files", "/v1/threads/t/messages_x"):
        assert json.loads(refusal_body(path, 413, "Too large.", "x"))["error"]["code"] == "x"
