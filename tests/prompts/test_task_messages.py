"""Tasks for Anthropic's Messages API, and the flex tier of the others."""

import json

import pytest

from headway.errors import ConfigError
from headway.prompts import Json, Labels, Sentence, Task, Text
from headway.wire import reader_for

SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
ROW = {"text": 'x "y" {z}'}


def make(**changes):
    return Task(**({"model": "m", "prompt": "Classify: {text}", "labels": ["a", "b"], "api": "messages"} | changes))


def test_messages_body():
    """A top-level system, the bound that the API requires, its own name for stop texts, and the row last."""
    task = make(system="You sort.", temperature=0.5, stop=["END"])
    assert task.path == "/v1/messages"
    body = task.body(ROW)
    assert json.loads(body) == {
        "model": "m",
        "max_tokens": 16,
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "system": "You sort.\n\nReturn only the label, one of: a, b.",
        "messages": [{"role": "user", "content": 'Classify: x "y" {z}'}],
    }
    assert body.rindex(b"Classify") > body.rindex(b"Return only")
    view = reader_for(task.path).read_request(body, ())
    assert (view.model, view.output_tokens_max, view.reusable) == ("m", 16, True)


@pytest.mark.parametrize(
    ("output", "given", "bound"),
    [
        (Text(), None, 4096),
        (Json(), None, 4096),
        (Sentence(), None, 256),
        (Text(), 99, 99),
        (Labels(labels=("a",)), None, 16),
    ],
)
def test_there_is_always_a_bound(output, given, bound):
    """The constraint's own, or 4,096."""
    body = json.loads(make(output=output, labels=(), max_output_tokens=given).body(ROW))
    assert body["max_tokens"] == bound


def test_a_schema_stands_in_the_sentence():
    """No field enforces it, so the model is shown it, when it is asked first and when it is asked again."""
    task = make(output=Json(schema=SCHEMA), labels=())
    body = json.loads(task.body(ROW))
    assert set(body) == {"model", "max_tokens", "system", "messages"}
    assert body["system"] == f"Return only JSON that fits this schema: {json.dumps(SCHEMA, separators=(',', ':'))}"
    again = json.loads(task.repair(ROW, "nonsense", "it is not JSON"))
    assert [turn["role"] for turn in again["messages"]] == ["user", "assistant", "user"]
    assert json.dumps(SCHEMA, separators=(",", ":")) in again["messages"][-1]["content"]
    assert again["system"] == body["system"]
    assert (
        "schema" not in make(output=Json(schema=SCHEMA), labels=(), api="chat").output.instruction().partition(":")[2]
    )


def test_the_schema_is_left_out_with_the_sentence():
    """`instruct = false` means that the task's own words ask."""
    assert "system" not in json.loads(make(output=Json(schema=SCHEMA), labels=(), instruct=False).body(ROW))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"temperature": 1.5}, "temperature must be a number from 0 to 1, not 1.5"),
        ({"reasoning_effort": "low"}, "reasoning_effort is not offered by the Messages API"),
        ({"api": "message"}, 'api must be "responses", "chat" or "messages", not \'message\''),
    ],
)
def test_what_the_api_does_not_take(wrong, says):
    """Found before anything is sent."""
    with pytest.raises(ConfigError, match=says):
        make(**wrong)


def test_a_task_file_may_choose_it(tmp_path):
    """`api = "messages"`, or the command line's word over the file's."""
    file = tmp_path / "task.toml"
    file.write_text('model = "m"\nprompt = "{text}"\napi = "messages"\n')
    assert Task.load(file).path == "/v1/messages"
    assert Task.load(file, api="chat").path == "/v1/chat/completions"


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("normalize", [{}, {"text": ["trim"]}])
def test_flex_asks_the_same_at_another_tier(api, normalize):
    """One field more in every body; the keys of rows, and of the job, stay as they were."""
    task = make(api=api, normalize=normalize)
    flex = task.flex()
    for plain, tiered in (
        (task.body(ROW), flex.body(ROW)),
        (task.repair(ROW, "x", "no"), flex.repair(ROW, "x", "no")),
    ):
        assert json.loads(tiered) == {"service_tier": "flex"} | json.loads(plain)
        assert reader_for(task.path).canonical(plain) == reader_for(task.path).canonical(tiered)
    assert flex.row_key(ROW) == task.row_key(ROW)
    assert flex.fingerprint == task.fingerprint
    assert b"service_tier" not in task.body(ROW)
    assert json.loads(flex.bounded_body(ROW, tokens_max=64, stop=False))["service_tier"] == "flex"


def test_messages_have_no_flex_tier():
    """It says which lanes there are."""
    with pytest.raises(ConfigError, match="has no flex tier; use the batch or the online lane"):
        make().flex()
