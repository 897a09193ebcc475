"""What the simulator answers."""

from __future__ import annotations

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.sim import SimSettings, Simulator, run_virtual
from headway.sim.label_list import find_labels
from headway.sim.labels import LabelIndex
from headway.sim.prefix import PrefixCache
from headway.sim.reading import read_plan, split_item
from headway.sim.schema import fill
from headway.sim.text import count_tokens, pieces
from tests.sim.helpers import LABELS, chat, chat_text, json, respond

PERFECT = SimSettings(quality=None, latency_scale=0)
CITY = (
    "The city council met on Monday. It voted for a new bridge over the river. The bridge will cost 3 million euros."
    " Work begins in May and ends in 2028. Some citizens protested against the bridge."
)


def ask(text: str, **fields) -> str:
    """One perfect answer to one user message."""
    return chat_text(run_virtual(lambda: chat(Simulator(PERFECT), text, **fields)))


@given(st.text(max_size=400))
def test_tokens_joined_are_the_text(text):
    """Cutting into tokens loses nothing, and counting agrees with cutting."""
    assert "".join(pieces(text)) == text
    assert count_tokens(text) == len(pieces(text))


@pytest.mark.parametrize(
    "prompt",
    [
        "Return only the label, one of: billing, technical_support, shipping.",
        "Classify the ticket into one of: billing, technical_support, or shipping. Ticket: hello",
        "Categories:\n- billing: money and invoices\n- technical_support\n- shipping: parcels\n\nTicket: hello",
        'Labels: ["billing", "technical_support", "shipping"]',
        "Pick exactly one category (billing | technical_support | shipping).",
        "Classify the message as billing, technical_support or shipping.",
        "The possible categories are: 'billing', 'technical_support', and 'shipping'. Return one.",
        "Choose one of the following intents:\n1. billing\n2. technical_support\n3. shipping\n",
    ],
)
def test_the_label_list_is_found_however_it_is_written(prompt):
    """Inline, bulleted, numbered, JSON, bars, prose."""
    assert find_labels(prompt)[0] == LABELS


@pytest.mark.parametrize(
    "prompt", ["Hello!", "Tell Ann or Bob.", "Either way: the answer is 42, or so I hear, my dear."]
)
def test_prose_is_no_label_list(prompt):
    """Commas and "or" alone make no labels."""
    assert find_labels(prompt) == ((), {})


@pytest.mark.parametrize(
    ("user", "alone", "items"),
    [
        ("Ticket: my card was stolen", False, ["my card was stolen"]),
        ("Please help, my card was stolen", True, ["Please help, my card was stolen"]),
        ("Ticket 1: a b\nTicket 2: c d\n\nReturn only the labels.", False, ["a b", "c d"]),
        ("Classify it.\n\nMy bill is wrong!\n\nReturn only the label, one of: a, b.", False, ["My bill is wrong!"]),
        ("Summarise this in one sentence: The fox ran. It was red.", False, ["The fox ran. It was red."]),
        ("Text: great\nLabel: positive\nText: awful\nLabel:", False, ["awful"]),
        ("That cannot be used: 'x' is not a label. Return only the label, one of: a, b.", False, []),
    ],
)
def test_the_item_is_told_from_the_instructions(user, alone, items):
    """By its mark, or by what surrounds it; a message of orders alone has none."""
    assert split_item(user, alone=alone)[1] == items


def test_only_the_label_is_answered_where_only_the_label_is_asked_for():
    """The label with the most evidence, exactly as it stands in the list."""
    prompt = f"Return only the label, one of: {', '.join(LABELS)}. Ticket: "
    assert ask(prompt + "I was charged twice on my invoice") == "billing"
    assert ask(prompt + "The app crashes with an error") == "technical_support"
    assert ask(prompt + "My parcel has not been delivered") == "shipping"


def test_descriptions_are_evidence():
    """A word that only a label's description has decides for that label."""
    index = LabelIndex(("alpha", "beta"), {"alpha": "money matters", "beta": "giraffes"})
    assert index.names[index.rank("I saw giraffes")[0]] == "beta"


def test_without_being_told_to_be_brief_it_explains():
    """A verbose prompt gets a verbose answer, the label on its last line."""
    text = ask(f"Classify the ticket into one of: {', '.join(LABELS)}. Ticket: I was charged twice on my invoice")
    assert text.endswith("Label: billing")
    assert len(text.split()) > 30


@given(count=st.integers(1, 8), words_max=st.integers(1, 15), exactly=st.booleans())
def test_bullets_are_as_many_and_as_long_as_asked(count, words_max, exactly):
    """Exactly N or at most N bullets, each of at most M words."""
    how = "exactly" if exactly else "at most"
    text = ask(f"Answer with {how} {count} '- ' bullets of at most {words_max} words each.\n\nText: {CITY}")
    lines = text.split("\n")
    assert len(lines) == count if exactly else 1 <= len(lines) <= count
    assert all(line.startswith("- ") and 1 <= len(line[2:].split()) <= words_max for line in lines)


def test_one_sentence_is_one_sentence():
    """One full stop, at the end."""
    text = ask(f"Answer in one sentence. Text: {CITY}")
    assert text.count(".") == 1
    assert text.endswith(".")


def test_otherwise_an_extractive_summary():
    """Sentences of the text, fewer than it has."""
    text = ask(f"Summarise the following text.\n\nText: {CITY}")
    assert text in CITY or all(part.strip() in CITY for part in text.split(". "))
    assert 0 < len(text) < len(CITY)


def test_prose_of_a_wanted_length():
    """Asked for 500 words it gives 500 words: what a benchmark of long answers asks for."""
    assert len(ask("Write 500 words about the sea.").split()) == 500


def test_the_token_bound_cuts_and_says_so():
    """max_tokens: finish "length" and exactly so many tokens; on Responses "incomplete" with the reason."""
    reply = json(run_virtual(lambda: chat(Simulator(PERFECT), "Write 100 words.", max_completion_tokens=20)))
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 20
    reply = json(run_virtual(lambda: respond(Simulator(PERFECT), "Write 100 words.", max_output_tokens=20)))
    assert (reply["status"], reply["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert reply["usage"]["output_tokens"] == 20


def test_stop_texts_end_the_answer():
    """What comes before the first stop text, without it."""
    whole = ask("Write 40 words.")
    stops = [f" {whole.split()[5]}", "never there", f" {whole.split()[2]}"]
    assert ask("Write 40 words.", stop=stops) == whole[: min(whole.index(stops[0]), whole.index(stops[2]))]


def test_thinking_is_billed_and_counted_apart():
    """reasoning.effort makes a reasoning model think; its tokens are output tokens and fill the bound first."""
    reply = json(run_virtual(lambda: respond(Simulator(PERFECT), "Write 5 words.", reasoning={"effort": "low"})))
    thought = reply["usage"]["output_tokens_details"]["reasoning_tokens"]
    assert 60 <= thought <= 180
    assert reply["usage"]["output_tokens"] > thought
    fields = {"reasoning": {"effort": "high"}, "max_output_tokens": 16}
    reply = json(run_virtual(lambda: respond(Simulator(PERFECT), "Write 5 words.", **fields)))
    assert (reply["status"], [item["type"] for item in reply["output"]]) == ("incomplete", ["reasoning"])


SCHEMAS = st.deferred(
    lambda: st.one_of(
        st.builds(lambda: {"type": "boolean"}),
        st.builds(lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
                  st.integers(-50, 50), st.integers(0, 50)),
        st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-50, 50)),
        st.builds(lambda step: {"type": "integer", "multipleOf": step}, st.integers(1, 9)),
        st.builds(lambda low, span: {"type": "string", "minLength": low, "maxLength": low + span},
                  st.integers(0, 30), st.integers(0, 30)),
        st.builds(lambda values: {"enum": values}, st.lists(st.sampled_from(["a", "b", "c", 1]), min_size=1, unique=True)),
        st.builds(lambda item, low, span: {"type": "array", "items": item, "minItems": low, "maxItems": low + span},
                  SCHEMAS, st.integers(0, 3), st.integers(0, 3)),
        st.builds(lambda inner: {"anyOf": [{"type": "null"}, inner]}, SCHEMAS),
        st.builds(lambda known, n: {"type": "object", "properties": known, "required": sorted(known)[:n],
                                    "additionalProperties": False},
                  st.dictionaries(st.sampled_from(["email", "name", "date", "count", "mood", "x"]), SCHEMAS, max_size=4),
                  st.integers(0, 4)),
    )
)  # fmt: skip


@given(
    schema=SCHEMAS, text=st.sampled_from(["", "No.", CITY, "Mail ann@example.org about order A-1234 on 2026-05-01!"])
)
def test_what_fills_a_schema_is_valid(schema, text):
    """Whatever the schema (of those that are understood) and whatever the text."""
    value = fill(schema, text, lambda names, _: names[0])
    jsonschema_rs.validator_for(schema).validate(value)


def test_references_unions_and_recursion_are_followed():
    """$ref, allOf and a schema that refers to itself."""
    schema = {
        "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}]}}}},
        "type": "object",
        "allOf": [{"properties": {"id": {"type": "integer"}}, "required": ["id"]}],
        "properties": {"node": {"$ref": "#/$defs/node"}, "kind": {"const": "k"}},
        "required": ["node", "kind"],
    }
    value = fill(schema, "order 17", lambda names, _: names[0])
    jsonschema_rs.validator_for(schema).validate(value)
    assert (value["id"], value["kind"]) == (17, "k")


def test_a_schema_is_filled_from_the_text():
    """Enums by evidence, strings by what their name asks for."""
    schema = {
        "type": "object",
        "properties": {
            "category": {"type": "string", "enum": list(LABELS)},
            "email": {"type": "string"},
            "order_id": {"type": "string"},
        },
        "required": ["category", "email", "order_id"],
        "additionalProperties": False,
    }
    fields = {"text": {"format": {"type": "json_schema", "name": "t", "schema": schema, "strict": True}}}
    text = "My parcel A-1234 was not delivered, write to ann@example.org"
    reply = json(run_virtual(lambda: respond(Simulator(PERFECT), text, **fields)))
    found = msgspec.json.decode(reply["output"][0]["content"][0]["text"])
    assert found == {"category": "shipping", "email": "ann@example.org", "order_id": "A-1234"}


def test_a_json_object_has_the_keys_the_prompt_names():
    """JSON without a schema."""
    text = ask(f"Return only JSON with keys title, mood and length. Text: {CITY}")
    assert list(msgspec.json.decode(text)) == ["title", "mood", "length"]


def test_several_items_get_an_answer_each():
    """Numbered items in one prompt: numbered labels; with a schema, an array of as many elements."""
    prompt = f"Return only the label per line, one of: {', '.join(LABELS)}.\n\nTicket 1: bill\nTicket 2: parcel\nTicket 3: crash"
    assert ask(prompt) == "1. billing\n2. shipping\n3. technical_support"
    element = {"type": "string", "enum": list(LABELS)}
    schema = {"type": "object", "properties": {"labels": {"type": "array", "items": element}}, "required": ["labels"]}
    form = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    assert msgspec.json.decode(ask(prompt, response_format=form))["labels"] == [
        "billing",
        "shipping",
        "technical_support",
    ]


def test_tools_are_called_where_that_is_demanded():
    """Required and by name always, auto on evidence, none never; not again once there is a result."""
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    function = {"name": "get_weather", "description": "Current weather of a city", "parameters": parameters}
    tools = [{"type": "function", "function": function}]

    def called(text: str, choice) -> bool:
        reply = json(run_virtual(lambda: chat(Simulator(PERFECT), text, tools=tools, tool_choice=choice)))
        assert (reply["choices"][0]["finish_reason"] == "tool_calls") == (
            "tool_calls" in reply["choices"][0]["message"]
        )
        return "tool_calls" in reply["choices"][0]["message"]

    assert called("Hello there", "required")
    assert called("Hello there", {"type": "function", "function": {"name": "get_weather"}})
    assert called("What is the weather in the city of Paris?", "auto")
    assert not called("Hello there", "auto")
    assert not called("What is the weather in the city of Paris?", "none")


def test_the_prompt_is_read_once_per_template():
    """A plan names what is asked for."""
    plan = read_plan("Answer with exactly 3 '- ' bullets of at most 12 words each and nothing else.")
    assert (plan.bullets, plan.bullets_exactly, plan.words_max, plan.labels) == (3, True, 12, None)


def test_prefixes_are_cached_in_steps_from_1024_tokens():
    """The second prompt with the same beginning reads it from the cache, in steps of 128; short ones never."""
    cache = PrefixCache(ttl_s=300)
    head = "word " * 1_200
    tokens = count_tokens(head + "x")
    assert cache.use(b"s", head + "one", tokens, 0.0) == 0
    assert cache.use(b"s", head + "two", tokens, 1.0) == 1_152
    assert cache.use(b"other", head + "two", tokens, 2.0) == 0
    assert cache.use(b"s", head + "two", tokens, 302.0) == 0
    assert cache.use(b"s", "word " * 500, 500, 303.0) == 0


def test_a_cached_prefix_is_cheaper_faster_and_in_the_usage():
    """Usage reports it, the bill is lower and the prompt takes less time."""
    simulator = Simulator(SimSettings())
    system = "Careful rules. " * 3_000

    async def main() -> None:
        messages = [{"role": "system", "content": system}]
        for _ in range(2):
            await chat(simulator, "", messages=[*messages, {"role": "user", "content": "Hello you"}])

    run_virtual(main)
    first, second = simulator.ledger.rows
    assert (first.cached_tokens, second.cached_tokens % 128) == (0, 0)
    assert second.cached_tokens > 8_000
    assert second.dollars < first.dollars


@pytest.mark.parametrize(
    "unit", ["\n", " ", "a", "1", "a ", "1 ", '"', "a, ", "labels: ", "one of ", "Text: ", "@", ". ", "{["]
)
def test_hostile_text_is_read_in_linear_time(unit):
    """Patterns are bounded: 60,000 characters of anything are read before anyone notices (or this test hangs)."""
    text = (unit * 60_000)[:60_000]
    read_plan(text)
    split_item(text, alone=False)
    fill(
        {"properties": {n: {"type": "string"} for n in ("email", "phone", "amount", "id", "x")}},
        text,
        lambda n, _: n[0],
    )
