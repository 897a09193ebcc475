"""`fit`: never over the bound, what must be kept is there, and nothing is cut that may not be cut."""

import json
import re

import pytest
import regex
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import headway
from headway.errors import ConfigError, InputError
from headway.prompts.context import counter_of, fit
from headway.prompts.context import regexes as context_regexes
from headway.prompts.context.layout import hard_spans

FAMILY, FLAG, ACCENT, HANGUL = "👨‍👩‍👧‍👦", "🇩🇪", "e\u0301\u0323", "\u1112\u1161\u11ab"
PLAIN = [
    "The boat goes up the river. ",
    "Who pays for the bridge, and when? ",
    "شكرا لكم على كل شيء. ",
    "שלום לכולם! ",
    "今日は天気がいい。明日は雨です。",
    "word " * 12,
    "\n",
    "\n\n",
    "\r\n\r\n",
    "- a point\n- and another\n",
    "# A heading\n\n",
    "Under\n=====\n",
    "   ",
    "x" * 300,
    "<keep>",
    "</keep>",
    "[1] (see {note}) ",
    "`inline` ```three``` ",
    '{"open": ',
]
JOINED = [FAMILY, FLAG, ACCENT, HANGUL, FAMILY * 40, FLAG * 40, ACCENT * 90, f"a{FAMILY} ", "ก็"]


@st.composite
def documents(draw):
    """A text, its blocks that may not be cut, and the passages that are marked in it."""
    parts, blocks, marked = [], [], []
    for n in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(["plain"] * 5 + ["joined", "joined", "fence", "json", "keep"]))
        if kind == "plain":
            parts.append(draw(st.sampled_from(PLAIN)) * draw(st.integers(1, 6)))
        elif kind == "joined":
            parts.append(draw(st.sampled_from(JOINED)))
        elif kind == "fence":
            tick = draw(st.sampled_from(["```", "~~~~"]))
            lines = "".join(f"call{i}() {{\n\n" for i in range(draw(st.integers(0, 20))))
            blocks.append(f"{tick}py\nbegin{n}_ {lines}end{n}_\n{tick}")
            parts.append(f"\n{blocks[-1]}\n")
        elif kind == "json":
            rows = [{"i": i, "t": "a. b"} for i in range(draw(st.integers(0, 20)))]
            value = {f"begin{n}_": rows, f"end{n}_": None}
            blocks.append(json.dumps(value, indent=draw(st.sampled_from([None, 1]))))
            parts.append(f" {blocks[-1]} ")
        else:
            marked.append(f"must{n} stay. Whatever{FAMILY}\n\n happens{n}")
            parts.append(f"<keep>{marked[-1]}</keep>")
    return "".join(parts), blocks, marked


def tried(text, **rules):
    """What fits, or the sentence that says why nothing does."""
    try:
        return fit(text, **rules)
    except InputError as error:
        return str(error)


HOWS = st.sampled_from(["truncate", "sections", "top_k"])
QUERIES = st.sampled_from(["", "river bridge", "雨", "call3 end2_", "nothing of the kind"])


@settings(max_examples=150, deadline=None)
@given(
    document=documents(),
    tokens_max=st.integers(16, 300),
    how=HOWS,
    query=QUERIES,
    tail=st.sampled_from([0.0, 0.3, 1.0]),
    marker=st.sampled_from([headway.prompts.context.fit.__kwdefaults__["marker"], "", "..."]),
    chars_per_token=st.sampled_from([None, 1.0, 2.5, 7.3]),
)
def test_what_fit_promises(document, tokens_max, how, query, tail, marker, chars_per_token):
    """Whatever the text: under the bound, marks kept, blocks and graphemes whole, never empty, and once is enough."""
    text, blocks, marked = document
    rules = {"tail": tail, "marker": marker, "chars_per_token": chars_per_token, "how": how, "query": query}
    count = counter_of("", chars_per_token)
    fitted = tried(text, tokens_max=tokens_max, **rules)
    if isinstance(fitted, str):
        assert f"{tokens_max:,}" in fitted
        if "must be kept" in fitted:
            assert "<keep>" in text
        else:
            assert not any(part in text for part in PLAIN[:6])
        return
    out = fitted.text
    assert fitted.tokens == count(out) <= tokens_max
    assert out.strip() or not text.strip()
    for passage in marked:
        if text.count("<keep>") == text.count("</keep>") == len(marked):
            assert passage in out
    for block in blocks:
        for word in re.findall(r"(?:begin|end)\d+_", block):
            assert block in out or word not in out
    rest = out.replace(FAMILY, "").replace(FLAG, "").replace(HANGUL, "").replace(ACCENT, "")
    assert not any(char in rest for char in "👨👩🇩🇪\u0323\u1161\u11ab\u200d")
    again = fit(out, tokens_max=tokens_max, **rules)
    assert again.text == out
    assert not again.cut
    assert fit(text, tokens_max=tokens_max, **rules) == fitted


@settings(max_examples=150, deadline=None)
@given(text=st.text(), tokens_max=st.integers(16, 40), how=HOWS, query=st.text(max_size=9))
def test_any_text_at_all(text, tokens_max, how, query):
    """Text of any characters, ten times over, fits or says why not; what is there stood in it."""
    assume("keep>" not in text)
    long = text * 10
    fitted = tried(long, tokens_max=tokens_max, how=how, query=query, marker="")
    if isinstance(fitted, str):
        assert str(tokens_max) in fitted
        return
    assert fitted.tokens <= tokens_max
    assert fitted.text or not text
    if not fitted.cut:
        assert fitted.text == long


TRICKY = "ab.。!漢ー🇩🇪👩‍❤️🏽\u0301\u0e33ก\u1112\u1161\u11ab\u0600\u0915\u094d\u0937\ufe0f\u200c\U000e0065\uff9e"


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(alphabet=TRICKY, min_size=60, max_size=400),
    tokens_max=st.integers(16, 60),
    tail=st.sampled_from([0.0, 1.0]),
)
def test_cuts_fall_between_graphemes(text, tokens_max, tail):
    """In text made of what joins its neighbours, each cut is where Unicode's own rules see a boundary."""
    out = tried(text, tokens_max=tokens_max, tail=tail, marker="", chars_per_token=1)
    if isinstance(out, str):
        assert "nothing of a text" in out
        return
    at = len(text) - len(out.text) if tail else len(out.text)
    assert out.text == (text[at:] if tail else text[:at])
    assert at in {0, *(match.end() for match in regex.finditer(r"\X", text))}


def test_a_text_that_fits_is_left_alone():
    """Nothing is counted away, cut or marked where there is room; the empty text is one."""
    for text in ("", "short", " \r\n "):
        fitted = fit(text, tokens_max=16)
        assert (fitted.text, fitted.how, fitted.cut, fitted.left_out_tokens) == (text, "whole", False, 0)


def test_truncate_keeps_the_beginning_and_says_what_is_missing():
    """Whole paragraphs, then whole sentences, then one marker with the number of tokens behind it."""
    text = "One two three. Four five six.\n\n" + "Seven eight nine. Ten eleven twelve. " * 40
    fitted = fit(text, tokens_max=40, chars_per_token=4)
    head, _, marker = fitted.text.partition("[...")
    assert text.startswith(head)
    assert head.rstrip().endswith(".")
    assert marker == f" {counter_of('', 4)(text[len(head) :]):,} tokens left out ...]"
    assert fitted.left_out_tokens == fitted.tokens_before - fitted.tokens > 300


def test_the_tail_gets_its_share():
    """With a tail, beginning and end are there, and one marker between them."""
    text = "\n\n".join(f"Paragraph {n} says little." for n in range(200))
    out = fit(text, tokens_max=100, tail=0.5).text
    assert out.startswith("Paragraph 0 ")
    assert out.endswith("Paragraph 199 says little.")
    assert out.count("left out") == 1
    assert fit(text, tokens_max=100, tail=1.0).text.startswith("[...")


def test_one_huge_word_is_cut_between_graphemes():
    """A word longer than the budget is cut, for else nothing would be left; never within a grapheme."""
    out = fit(FAMILY * 1_000, tokens_max=40, marker="").text
    assert out == FAMILY * (len(out) // len(FAMILY)) != ""
    assert fit("x" * 10_000, tokens_max=20, marker="", chars_per_token=4).text == "x" * 80


def test_a_block_longer_than_the_budget_is_passed_over():
    """Code that cannot fit is left out whole, and the text behind it is taken; alone, it is an error."""
    block = "```\n" + "call();\n" * 200 + "```\n"
    assert fit(block + "The end.", tokens_max=30).text.endswith("The end.")
    with pytest.raises(InputError, match=r"nothing of a text of 402 tokens fits into 30 without cutting a code block"):
        fit(block, tokens_max=30, chars_per_token=4)
    with pytest.raises(InputError, match="JSON value"):
        fit(json.dumps({"rows": list(range(500))}), tokens_max=30)


def test_a_fence_that_is_never_closed_is_text():
    """One stray fence does not make the rest of a document uncuttable."""
    assert fit("```\n" + "Words and words. " * 100, tokens_max=50).text.count("Words") > 5


def test_what_to_keep_by_heading_text_and_pattern():
    """A heading brings its whole section, a pattern its lines, any other text itself, wherever they stand."""
    filler = "Nothing of interest happens here.\n\n" * 60
    text = (
        f"# One\n\n{filler}## Terms\n\nPay in 30 days.\n\n### More\n\nOr else.\n\n## Two\n\n{filler}WARNING: hot\n"
        f"a WARNING\n{filler}the secret number 42, then{filler}"
    )
    fitted = fit(text, tokens_max=90, keep=["## terms", "re:^WARNING", "number 42"])
    assert fitted.kept == ("## Terms\n\nPay in 30 days.\n\n### More\n\nOr else.\n\n", "WARNING: hot\n", "number 42")
    assert all(passage in fitted.text for passage in fitted.kept)
    assert "a WARNING" not in fitted.text
    with pytest.raises(InputError, match=r"what must be kept has \d+ tokens, and tokens_max is 16"):
        fit(text, tokens_max=16, keep=["## terms", "re:^WARNING", "number 42"])


def test_a_kept_line_brings_the_block_it_stands_in():
    """A line of a code block cannot be kept without cutting the block, so all of it is."""
    block = "```\nfirst()\nWARNING()\nlast()\n```\n"
    fitted = fit("words " * 300 + "\n" + block, tokens_max=40, keep=["re:^WARNING"])
    assert fitted.kept == (block,)


def test_marks_are_taken_out_and_can_be_off():
    """The model never sees a mark; nested ones are one passage; without a partner, or with marks=False, it is text."""
    assert fit("a <keep>b <keep>c</keep></keep> d", tokens_max=16).text == "a b c d"
    assert fit("a </keep> b <keep> c", tokens_max=16).text == "a </keep> b <keep> c"
    assert fit("a <keep>b</keep>", tokens_max=16, marks=False).text == "a <keep>b</keep>"
    fitted = fit("x " * 500 + "<keep>b <keep>c</keep></keep>" + " y" * 500, tokens_max=30)
    assert fitted.kept == ("b c",)
    assert "b c" in fitted.text


TALE = "".join(
    f"## Chapter on {what}\n\n" + f"Much is told of the {what}, and of old times. " * 12 + "\n\n"
    for what in ("bridges", "looms", "horses", "money", "rivers", "gardens", "boats", "wine")
)


def test_top_k_takes_what_answers_in_the_texts_order():
    """The best passages for the query, in document order, with markers between them."""
    fitted = fit(TALE, tokens_max=330, how="top_k", query="Who drinks wine and pays with money?", chars_per_token=4)
    assert fitted.how == "top_k"
    assert 0 < fitted.text.find("the money") < fitted.text.find("the wine")
    assert "the horses" not in fitted.text
    assert fitted.text.count("tokens left out") == 2


def test_sections_takes_whole_sections():
    """A section that is taken begins with its heading; of one that does not fit there is a part."""
    fitted = fit(TALE, tokens_max=200, how="sections", query="a horse")
    assert "## Chapter on horses\n\n" in fitted.text
    assert fitted.text.count("## Chapter") == 1
    small = fit(TALE, tokens_max=60, how="sections", query="a horse").text
    assert "told of the horses" in small
    assert "the looms" not in small


def test_a_query_without_a_hit_takes_the_beginning():
    """When no word of the query occurs, the text's beginning is taken, and the result says so."""
    fitted = fit(TALE, tokens_max=60, how="top_k", query="zebra")
    assert fitted.how == "truncate"
    assert fitted.text.startswith("## Chapter on bridges")


def test_a_chinese_query_finds_its_sentence():
    """Scripts without spaces are searched by their characters."""
    text = "今日は天気がいい。" * 100 + "猫は魚を食べる。" + "明日も天気がいい。" * 100
    assert "猫は魚を食べる。" in fit(text, tokens_max=60, how="top_k", query="猫", chunk_tokens=16).text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tokens_max": 15}, "tokens_max must be a number from 16, not 15"),
        ({"how": "shorten"}, "how must be one of truncate, sections, top_k, not 'shorten'"),
        ({"tail": 1.5}, "tail must be a share from 0 to 1"),
        ({"keep": ["re:("]}, "no regular expression"),
        ({"keep": [" "]}, "empty rule"),
        ({"chunk_tokens": 3}, "chunk_tokens must be a number from 16"),
        ({"chars_per_token": 0.1}, "chars_per_token must be a number from 0.5 to 12"),
    ],
)
def test_wrong_arguments_are_named(wrong, said):
    """Every wrong argument is a sentence that names it."""
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        fit("text", **({"tokens_max": 20} | wrong))


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    """A missing package is one sentence with the command."""
    monkeypatch.setattr(context_regexes, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "headway\[context\]"'):
        fit("text", tokens_max=20)


@pytest.mark.parametrize(
    "nasty",
    ["[" * 30_000, '{"a":' * 8_000, '{"' * 8_000, "```\n" * 9_001, "````x\n" * 6_000, "\u0301" * 20_000,
     "a" + "\n" * 90_000 + "\u0301", "a" + " " * 400_000 + "\u0301", "。" * 400_000 + "\u0301", "." * 400_000 + "a"],
)  # fmt: skip
def test_hostile_texts_take_no_time(nasty):
    """Brackets, quotes, fences and marks without end are bounded work: a quadratic one would take minutes."""
    try:
        assert fit(nasty + " the end", tokens_max=50, how="top_k", query="end").tokens <= 50
    except InputError:
        assert nasty[0] == "\u0301"


def test_sections_among_thousands_of_blocks_take_no_time():
    """Headings are looked up for each part: going through all of them for every part would take minutes."""
    assert fit("# Head\n\n[1, 2]\n\n" * 30_000, tokens_max=50, how="sections", query="head").tokens <= 50


def test_blocks_far_behind_others_that_are_none_are_found_where_they_stand():
    """Places are those of the whole text, although the beginning is left behind on the way."""
    text = "[1 x " * 8_000 + '{"a": [1, 2]}' + "word " * 20_000 + "[3]"
    assert [text[start:end] for start, end in hard_spans(text)] == ['{"a": [1, 2]}', "[3]"]
