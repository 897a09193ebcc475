"""The HTML page: well-formed, self-contained, escaped, bounded; and its charts."""

import re
from html.parser import HTMLParser
from math import log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import ConfigError
from headway.report.html import write_comparison, write_report
from headway.report.summary import SummaryBuilder
from headway.report.svg import histogram_chart, log_ticks, merge_bins, nice_ticks, over_time_chart, short_seconds
from tests.report.results import Flat, result

VOID = {"meta", "link", "br", "hr", "img", "input"}
BYTES_MAX = 500_000


class Tree(HTMLParser):
    """Fails on a tag that is closed wrongly; notes ids, text and what would be loaded or run."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.tags, self.text, self.loads = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        names = dict(attrs)
        if "id" in names:
            self.ids.append(names["id"])
        self.loads += [v for k, v in attrs if k in ("src", "href", "srcset", "action") or k.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(document):
    """The page's tree, after checking what holds for every page."""
    tree = Tree()
    tree.feed(document)
    tree.close()
    assert not tree.open
    assert len(tree.ids) == len(set(tree.ids))
    assert not {"script", "link", "img", "iframe"} & set(tree.tags)
    assert tree.loads == []
    assert "url(" not in document
    assert "@import" not in document
    assert not re.search(r"\b(nan|inf|None)\b", " ".join(re.findall(r"<(?:rect|path|line|text)[^>]*>", document)))
    return tree


def summary(n=40, **fields):
    """Of `n` rows, some reused, some failed."""
    builder = SummaryBuilder(model="m", expected_column="e", rates=Flat())
    for i in range(n):
        one = {"row": {"e": "billing"}, "started_at_s": i * 0.1, "latency_s": 0.5 + i % 7 / 10, "wait_s": 0.1, **fields}
        if i % 5 == 4:
            one |= {"cache": "memory", "attempts": 0, "dollars": 0.0, "saved_dollars": 120.0, "latency_s": 0.0002}
        if i % 11 == 10:
            one |= {"outcome": "server_error", "error": fields.get("error", "it broke")}
        builder.add(result(i, **one))
    return builder.build(wall_s=n * 0.1 + 1, allowed_rpm=1000)


def test_a_page_shows_the_figures_the_settings_and_the_command(tmp_path):
    """Headline, charts with titles, tables behind them, how to run it again."""
    path = write_report(
        tmp_path / "r.html",
        summary(),
        title="tickets.csv",
        settings={"cache": "disk"},
        command="headway run tickets.csv",
    )
    document = path.read_text("utf-8")
    tree = parsed(document)
    text = " ".join(tree.text)
    for part in ("tickets.csv", "Total runtime", "Cache hit rate", "Accuracy", "95 % interval", "Latency histogram",
                 "Requests over time", "Where the money went", "not spent: cache hits", "Categories", "Failures",
                 "it broke", "disk", "headway run tickets.csv"):  # fmt: skip
        assert part in text
    assert tree.tags.count("svg") == tree.tags.count("desc") == 2
    assert tree.tags.count("details") == 2
    assert "prefers-color-scheme:dark" in document
    assert "width=device-width" in document
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


HOSTILE = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


def test_everything_that_others_wrote_is_escaped(tmp_path):
    """Labels, errors, titles, settings and commands are text, whatever is in them."""
    one = summary(value=HOSTILE[:80], error=HOSTILE, error_code=HOSTILE)
    path = tmp_path / "r.html"
    write_report(path, one, title=HOSTILE, settings={HOSTILE: HOSTILE}, command=HOSTILE, notes=[HOSTILE])
    tree = parsed(path.read_text("utf-8"))
    assert HOSTILE in " ".join(tree.text)
    write_comparison(path, {HOSTILE: one, "b": one}, baseline=HOSTILE, verdict=HOSTILE, settings={"a": HOSTILE})
    assert HOSTILE in " ".join(parsed(path.read_text("utf-8")).text)


@given(st.text(max_size=40))
def test_any_text_gives_a_well_formed_page(tmp_path_factory, text):
    """No title, label or message breaks the page."""
    path = tmp_path_factory.getbasetemp() / "any.html"
    write_report(path, summary(11, value=text, error=text), title=text, command=text)
    parsed(path.read_text("utf-8"))


def test_a_page_of_100_000_rows_is_under_500_kb(tmp_path):
    """Size follows the charts, not the rows: the worst labels, failures and times included."""
    builder = SummaryBuilder(model="m", rates=Flat())
    for i in range(100_000):
        failed = i % 3 == 0
        builder.add(
            result(
                i,
                value=f"{i % 700:0>70}&<>",
                outcome="server_error" if failed else "ok",
                error="<&>" * 2000 if failed else "",
                error_code=f"code {i % 90}",
                latency_s=10 ** (i % 90 / 10 - 5),
                wait_s=0.0,
                started_at_s=float(i * 7919 % 86_400),
            )
        )
    one = builder.build(wall_s=86_400.0)
    assert len(one.series.in_flight) <= 300
    settings = {f"setting {i}": "x" * 5000 for i in range(20)}
    write_report(tmp_path / "one.html", one, settings=settings)
    write_comparison(tmp_path / "four.html", dict.fromkeys("abcd", one), baseline="a")
    assert (tmp_path / "one.html").stat().st_size < BYTES_MAX
    assert (tmp_path / "four.html").stat().st_size < BYTES_MAX


@pytest.mark.parametrize("n", [0, 1])
def test_a_page_of_nothing_is_a_page(tmp_path, n):
    """No rows, or one: no division by zero, and a sentence where a chart would be."""
    one = SummaryBuilder(rates=Flat()).build(wall_s=0.0) if n == 0 else summary(1, outcome="input", error="no column")
    write_report(tmp_path / "r.html", one)
    write_comparison(tmp_path / "c.html", {"a": one, "b": one}, baseline="a")
    assert "Nothing was sent" in (tmp_path / "r.html").read_text("utf-8")
    for path in tmp_path.iterdir():
        parsed(path.read_text("utf-8"))


def test_unknown_cost_is_unknown_on_the_page(tmp_path):
    """Never $0."""
    write_report(tmp_path / "r.html", summary(dollars=None, usage=None))
    text = " ".join(parsed((tmp_path / "r.html").read_text("utf-8")).text)
    assert "unknown in all" in text


def test_a_report_that_cannot_be_written_says_so(tmp_path):
    """One sentence with the path and the way out; what was there stays."""
    with pytest.raises(ConfigError, match=r"nowhere.*choose another"):
        write_report(tmp_path / "nowhere" / "r.html", summary(1))
    (tmp_path / "dir.html").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(tmp_path / "dir.html", summary(1))
    assert [p.name for p in tmp_path.iterdir()] == ["dir.html"]


@given(st.floats(1e-6, 1e12), st.integers(1, 8), st.booleans())
def test_ticks_are_round_and_reach_the_top(top, wanted, whole):
    """From 0 to at least the top, evenly, in steps of 1, 2 or 5; and few enough to read."""
    ticks = nice_ticks(top, wanted, whole=whole)
    assert ticks[0] == 0
    assert ticks[-1] >= top * (1 - 1e-6)
    assert 2 <= len(ticks) <= 2 * wanted + 2
    assert f"{ticks[1]:.0e}"[0] in "125"
    if whole:
        assert ticks[1] == int(ticks[1])


@given(st.floats(1e-6, 1e4), st.floats(1.05, 1e8))
def test_log_ticks_stay_inside_and_few(low, factor):
    """Ticks of a logarithmic axis, ascending, inside it, and not more than fit."""
    ticks = log_ticks(low, low * factor)
    assert ticks == sorted(set(ticks))
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)
    assert len(ticks) <= 10
    assert len(ticks) >= int(log10(factor))


def test_bars_stand_where_their_values_are():
    """Counts are heights: twice as many rows, twice as high; reused answers stand on the calls."""
    svg = histogram_chart([(1.0, 2.0, 4, 0), (2.0, 4.0, 2, 2)])
    bars = re.findall(r'<rect class="(\w)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg)
    (a, ax, ay, _, ah), (b, bx, by, _, bh), (c, cx, cy, _, ch) = bars
    assert (a, b, c) == ("a", "a", "b")
    assert float(ah) == pytest.approx(2 * float(bh), abs=0.2)
    assert (bx, bh) == (cx, ch)
    assert float(cy) + float(ch) == pytest.approx(float(by), abs=0.2)
    assert float(cy) == pytest.approx(float(ay), abs=0.2)
    assert float(ax) < float(bx)


def test_merging_bins_keeps_every_row():
    """133 bins become at most 32 bars, and no row is lost."""
    bins = [(2 ** (i / 4), 2 ** ((i + 1) / 4), i, 1) for i in range(-60, 73)]
    merged = merge_bins(bins, 32)
    assert len(merged) <= 32
    assert sum(b[2] for b in merged) == sum(b[2] for b in bins)
    assert merged[0][0] == bins[0][0]


def test_the_queue_is_drawn_only_where_there_was_one():
    """Microseconds of our own are no queue."""
    assert 'class="line"' not in over_time_chart(0.1, [1.0, 2.0], [0.001, 0.0])
    assert 'class="line"' in over_time_chart(0.1, [1.0, 2.0], [0.5, 0.0])


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (2e-4, "200 µs"), (0.005, "5 ms"), (0.2, "200 ms"), (2, "2 s"), (60, "60 s"), (600, "10 min"), (10800, "3 h")]
)  # fmt: skip
def test_tick_labels(value, shown):
    """Short, with their unit."""
    assert short_seconds(value) == shown
