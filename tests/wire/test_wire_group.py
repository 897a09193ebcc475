"""Several requests as one prompt and back, in each format."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway import Task
from headway.wire import reader_for
from headway.wire.group import answers_in, item_of, merged, split

RESPONSES, CHAT, MESSAGES = "/v1/responses", "/v1/chat/completions", "/v1/messages"
ASKED = {
    RESPONSES: {"model": "m", "store": False, "max_output_tokens": 20, "instructions": "Be brief.", "input": "TEXT"},
    CHAT: {
        "model": "m",
        "max_completion_tokens": 20,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "TEXT"}],
    },
    MESSAGES: {
        "model": "m",
        "max_tokens": 20,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": "TEXT"}],
    },
}
ANSWERS = {
    RESPONSES: {
        "id": "resp_1", "object": "response", "status": "completed", "model": "m",
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": "WHOLE", "annotations": []}]},
        ],
        "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 7}, "output_tokens": 31,
                  "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 131},
    },
    CHAT: {
        "id": "chatcmpl-1", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "WHOLE"}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 31, "total_tokens": 131,
                  "prompt_tokens_details": {"cached_tokens": 7}},
    },
    MESSAGES: {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "WHOLE"}],
        "usage": {"input_tokens": 100, "output_tokens": 31, "service_tier": "standard"},
    },
}  # fmt: skip


def body(path, text="TEXT", **more):
    return json.dumps(ASKED[path] | more).replace("TEXT", text).encode()


@pytest.mark.parametrize("path", [RESPONSES, CHAT, MESSAGES])
def test_a_request_is_read_as_bytes_around_its_item(path):
    """And put together again it is what it was."""
    item = item_of(path, body(path))
    assert item.text == "TEXT"
    assert item.before + b'"TEXT"' + item.after == body(path)


@pytest.mark.parametrize("path", [RESPONSES, CHAT, MESSAGES])
def test_the_merged_request_is_the_same_but_for_its_text_and_its_bound(path):
    """Instructions stand as they did; the bound is the sum and eight for each."""
    item = item_of(path, body(path))
    whole = msgspec.json.decode(merged(item, ["one", 'two\n"2"'], reader_for(path).bound_fields, 40))
    field = next(name for name in whole if name.startswith("max_"))
    text = whole["input"] if path == RESPONSES else whole["messages"][-1]["content"]
    assert text == (
        "Answer each item on its own, by the instructions above. "
        "Return only a JSON object with the ids as keys and each answer as a string.\n"
        '{"id": "1", "item": "one"}\n'
        '{"id": "2", "item": "two\\n\\"2\\""}'
    )
    expected = json.loads(body(path)) | {field: 56}
    if path == RESPONSES:
        expected["input"] = text
    else:
        expected["messages"][-1]["content"] = text
    assert whole == expected


@pytest.mark.parametrize("api", ["responses", "chat"])
def test_every_request_of_a_task_can_be_grouped_and_equal_ones_are_alike(api):
    """Same bytes around different items."""
    task = Task(model="gpt-5.4-mini", api=api, prompt="Classify: {text}", labels=["a", "b"], temperature=0)
    items = [item_of(task.path, task.body({"text": text})) for text in ("one", "zwei \u2028 \U0001f600", '"quoted" \\')]
    assert len({(item.before, item.after) for item in items}) == 1
    assert items[1].text == "Classify: zwei \u2028 \U0001f600"


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (RESPONSES, {"tools": []}),
        (RESPONSES, {"text": {"format": {"type": "json_object"}}}),
        (RESPONSES, {"previous_response_id": "resp_0"}),
        (RESPONSES, {"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}),
        (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]}),
        (RESPONSES, {"input": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}),
        (RESPONSES, {"input": []}),
        (RESPONSES, {"input": "  "}),
        (RESPONSES, {"input": "Be brief."}),  # twice the same bytes: which is the item?
        (CHAT, {"response_format": {"type": "json_object"}}),
        (CHAT, {"stop": ["\n"]}),
        (CHAT, {"n": 2}),
        (CHAT, {"unknown": 1}),
        (MESSAGES, {"tools": []}),
        (MESSAGES, {"stop_sequences": ["x"]}),
        (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("/v1/embeddings", {}),
    ],
)
def test_what_cannot_be_grouped(path, more):
    """Schemas, tools, pictures, conversations, stop texts, and anything that is not known."""
    assert item_of(path, json.dumps(ASKED.get(path, {"input": "TEXT"}) | more).encode()) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(data):
    """As readers do."""
    for path in (RESPONSES, CHAT, MESSAGES):
        assert item_of(path, data) is None
    assert len(answers_in(data.decode("utf-8", "replace"), 3)) == 3


def test_answers_are_found_by_their_ids():
    """Around the object there may be a fence; what is missing, empty or no text is None."""
    assert answers_in('{"1": "a", "2": "b"}', 2) == ["a", "b"]
    assert answers_in('```json\n{"2": "b", "3": " ", "4": 4}\n```', 4) == [None, "b", None, None]
    assert answers_in('{"1": "a", "2": "b', 2) == [None, None]
    assert answers_in('["a"]', 1) == [None]


@pytest.mark.parametrize("path", [RESPONSES, CHAT, MESSAGES])
def test_each_member_has_a_whole_answer_in_its_format(path):
    """A reader finds its text, that it may be kept, and its share; the shares add up."""
    reader, whole = reader_for(path), json.dumps(ANSWERS[path]).encode()
    parts = split(whole, ["one", None, "three"])
    answers = [reader.read_answer(200, part) for part in parts]
    assert [reader.text(part) for part in parts] == ["one", "", "three"]
    assert [answer.admissible for answer in answers] == [True, False, True]
    assert {answer.finish for answer in answers} == {reader.read_answer(200, whole).finish}
    sums = {}
    for answer in answers:
        for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"):
            sums[name] = sums.get(name, 0) + getattr(answer.usage, name)
        assert answer.usage.cached_tokens <= answer.usage.input_tokens
    group = reader.read_answer(200, whole).usage
    assert sums == {name: getattr(group, name) for name in sums}
    for part in parts:
        usage = json.loads(part)["usage"]
        if "total_tokens" in usage:
            ins, outs = usage.get("prompt_tokens", usage.get("input_tokens")), usage.get("completion_tokens")
            assert usage["total_tokens"] == ins + (usage["output_tokens"] if outs is None else outs)


def test_an_answer_of_no_format_is_refused():
    """The members are then asked by themselves."""
    with pytest.raises(ValueError, match="no format"):
        split(b'{"hello": 1}', ["a"])
