"""Rows that are whole requests: what is sent of them, which are refused, and what their answers are."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.engine.row import RowAsk
from headway.errors import ConfigError, InputError
from headway.prompts.requests import First, Requests, first_request
from headway.types import Trace

CHAT = Requests(api="chat")
BODY = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "Hi"}], "temperature": 0.0}


def row(body=BODY, **fields):
    return {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body, **fields}


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_the_bodys_own_values_are_sent_in_their_own_order(more):
    """Names, values and order are the file's; nothing is added, and the key is of the body alone."""
    body = {"zeta": 1, **more, "model": "m"}
    body.pop("stream", None)
    sent = CHAT.body(row(body))
    assert json.loads(sent) == body
    assert list(json.loads(sent)) == list(body)
    assert CHAT.row_key(row(body)) == CHAT.row_key(row(body, custom_id="b"))
    assert CHAT.row_key(row(body)) != CHAT.row_key(row({**body, "model": "n"}))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"custom_id": "a"}, "holds no request"),
        (row("text"), "holds no request"),
        (row(None), "holds no request"),
        (row({**BODY, "stream": True}), "leave 'stream' out"),
        (row({"messages": []}), "names no model"),
        (row({**BODY, "model": 7}), "names no model"),
        (row(url="/v1/responses"), "'/v1/responses' and this job for '/v1/chat/completions'"),
        (row(url=["x" * 5_000]), "is for"),
        (row(method="GET"), "method is 'GET'"),
        ({"custom_id": "a", "params": BODY}, "'params' are a Messages request"),
        (row({**BODY, "when": object()}), "cannot be written as JSON"),
        (row({**BODY, "text": "\ud800"}), "cannot be written as JSON"),
    ],
)
def test_a_row_that_cannot_be_asked_about_says_why(bad, words):
    """One short sentence, from the body and from the key alike."""
    for method in (CHAT.body, CHAT.row_key):
        with pytest.raises(InputError, match=words) as caught:
            method(bad)
        assert len(str(caught.value)) < 300


def test_what_may_be_left_out():
    """Method, url and an unasked stream need not be there."""
    plain = CHAT.body({"body": BODY})
    assert CHAT.body(row()) == plain
    assert json.loads(CHAT.body(row({**BODY, "stream": False})))["stream"] is False


def test_messages_rows_are_params_or_bodies():
    """Anthropic's batches have no url; a body for its path is the same request."""
    task = Requests(api="messages")
    assert task.path == "/v1/messages"
    assert task.body({"params": BODY}) == task.body(row(url="/v1/messages"))
    with pytest.raises(ConfigError, match="no flex tier"):
        task.flex()


def test_flex_changes_the_tier_and_not_the_key():
    """Also where a request names a tier of its own."""
    flex = CHAT.flex()
    for body in (BODY, {**BODY, "service_tier": "default"}):
        assert json.loads(flex.body(row(body))) == {**BODY, "service_tier": "flex"}
        assert flex.row_key(row(body)) == CHAT.row_key(row(body))
    assert b"service_tier" not in CHAT.body(row())


def test_a_bound_is_the_requests_own():
    """The task has none that could follow the answers; texts are taken as they are, cut or not, and never repaired."""
    assert (CHAT.max_output_tokens, CHAT.stops, CHAT.repairs_max, CHAT.columns) == (None, (), 0, ())
    assert Requests(api="messages").max_output_tokens is None
    assert CHAT.bears_cutting
    assert CHAT.key_body(row()) is None
    assert CHAT.accept(" as it is\n") == " as it is\n"


def test_an_answer_without_text_is_the_rows_as_a_whole():
    """A tool call is an answer, too."""
    ask = RowAsk(CHAT, row())
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = {"choices": [{"finish_reason": "tool_calls", "message": {"role": "assistant", "tool_calls": [call]}}]}
    trace = Trace("call", "1", 0.0, 0.0)
    trace.end("ok", 1.0)
    assert ask.answered(200, msgspec.json.encode(answer), trace)
    result = ask.result(0, latency_s=1.0, started_at_s=0.0)
    assert (result.error, result.value) == ("", answer)


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (row(), First("chat", "/v1/chat/completions", "gpt-5.4-mini")),
        (row(url="/v1/responses"), First("responses", "/v1/responses", "gpt-5.4-mini")),
        (row(url="/chat/completions"), First("chat", "/chat/completions", "gpt-5.4-mini")),
        ({"params": BODY}, First("messages", "", "gpt-5.4-mini")),
        ({"body": {}}, First(None, "", "")),
        ({"text": "x", "body": "an e-mail's"}, None),
        ({}, None),
    ],
)
def test_the_first_request_tells_of_the_others(first, told):
    """Its url says the API, and so do Anthropic's params."""
    assert first_request(first) == told


def test_a_url_jobs_have_no_use_for():
    """Named, with those that there are."""
    with pytest.raises(ConfigError, match=r"'/v1/embeddings' cannot be run.*/responses"):
        first_request(row(url="/v1/embeddings"))


def test_other_spellings_of_the_url_go_to_the_apis_own_path():
    """What Azure's batch files say is below the base URL."""
    task = Requests(api="chat", url="/chat/completions")
    assert task.path == "/v1/chat/completions"
    assert task.body(row(url="/chat/completions")) == CHAT.body(row())
    with pytest.raises(InputError):
        task.body(row())
