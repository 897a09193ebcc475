"""The page around the charts: its style sheet, its frame, and tables whose every cell is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

__all__ = ["bar_table", "card", "card_row", "definition_table", "details", "figure", "page", "section", "table", "text"]

_CHARS_MAX = 2_000
_ENTRIES_MAX = 100

_STYLE = """
:root{color-scheme:light dark;--bg:#fbfaf8;--card:#fff;--ink:#1d1d1b;--soft:#5f5e58;--rule:#e3e1da;
--a:#0b6e8a;--b:#9fcbd8;--warn:#a23b16}
@media(prefers-color-scheme:dark){:root{--bg:#161716;--card:#1e1f1e;--ink:#ecebe6;--soft:#a9a8a1;--rule:#363734;
--a:#4fb6d1;--b:#2d6273;--warn:#f08a63}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:64rem;margin:0 auto;padding:2.5rem 1.25rem 4rem}
h1{font-size:1.65rem;line-height:1.2;letter-spacing:-.015em;margin:0}
h2{font-size:1.05rem;margin:0 0 .75rem}
header p,.lead{color:var(--soft);margin:.4rem 0 0;max-width:46rem}
.lead{color:var(--ink);font-size:1.06rem;margin:1.1rem 0 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.3rem,1fr));gap:1px;background:var(--card);
border:1px solid var(--rule);border-radius:10px;overflow:hidden;margin:1.75rem 0}
.card{margin:0;box-shadow:0 0 0 1px var(--rule);padding:.85rem 1rem 1rem}
.card dt{color:var(--soft);font-size:.82rem}
.card dd{margin:0;font-size:1.4rem;line-height:1.3;letter-spacing:-.01em;white-space:nowrap}
.card dd+dd{font-size:.82rem;color:var(--soft);letter-spacing:0;white-space:normal}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1.25rem}
section{background:var(--card);border:1px solid var(--rule);border-radius:10px;padding:1.1rem 1.2rem 1.2rem;
min-width:0}
.grid2,.wide{margin-bottom:1.25rem}
figure{margin:0}
figure+figure{margin-top:1.25rem}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--soft);font-size:12.5px}
svg .end{text-anchor:end}svg .mid{text-anchor:middle}
svg .grid{stroke:var(--rule)}svg .axis{stroke:var(--soft)}
svg .a{fill:var(--a)}svg .b{fill:var(--b);stroke:var(--a);stroke-width:.8}
svg .area{fill:var(--a);fill-opacity:.3;stroke:var(--a);stroke-width:1.2;stroke-linejoin:round}
svg .line{fill:none;stroke:var(--warn);stroke-width:1.5;stroke-linejoin:round}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;color:var(--soft);font-size:.85rem;margin:.5rem 0 0}
.key i{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.4em;background:var(--a)}
.key .b{background:var(--b)}.key .line{background:var(--warn);height:2px;vertical-align:.2em}
.scroll{overflow-x:auto}figure+.scroll{margin-top:.8rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{text-align:left;color:var(--soft);padding-bottom:.3rem}
th,td{text-align:right;padding:.36rem .5rem;border-bottom:1px solid var(--rule);vertical-align:top}
tr:last-child>th,tr:last-child>td{border-bottom:0}
th:first-child,td:first-child{text-align:left;padding-left:0}
th:last-child,td:last-child{padding-right:0}
td{white-space:nowrap}
thead th{color:var(--soft);font-weight:500;white-space:pre-line;vertical-align:bottom}
tbody th{font-weight:500}
td small{display:block;color:var(--soft);font-size:.8rem;white-space:nowrap}
td small.good{color:var(--a);font-weight:600}
.left td,.left th{text-align:left;white-space:normal;overflow-wrap:break-word}
.left td:last-child{overflow-wrap:anywhere}
.left tbody th{color:var(--soft);font-weight:500}
.bars th{font-weight:400;overflow-wrap:anywhere;width:36%}
.bars th small{display:block;color:var(--soft)}
.bars td.n{width:1%;white-space:nowrap}
.bars td.bar{padding-right:0;vertical-align:middle}
.bars .bar span{display:block;height:.8rem;border-radius:2px;background:var(--a);min-width:2px}
.bars .bar span.b{background:repeating-linear-gradient(135deg,var(--b) 0 4px,transparent 4px 7px);
outline:1px solid var(--b);outline-offset:-1px}
details{margin-top:.7rem;font-size:.88rem}
details>summary{color:var(--soft);cursor:pointer}
details table{margin-top:.4rem}
pre{background:var(--bg);border:1px solid var(--rule);border-radius:6px;padding:.7rem .85rem;margin:.9rem 0 0;
white-space:pre-wrap;overflow-wrap:anywhere;
font:.86rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.none,.note{color:var(--soft);font-size:.88rem;margin:.6rem 0 0}
h2.run{margin:2.25rem 0 .9rem;font-size:1.2rem}
@media(max-width:34rem){main{padding:1.5rem .9rem 3rem}section{padding:.95rem .9rem}.card dd{font-size:1.3rem}
.cards{grid-template-columns:1fr 1fr}svg text{font-size:15px}
section table{font-size:.82rem}section th,section td{padding:.3rem .3rem}
table.left tr,table.left th,table.left td{display:block;border:0;padding:.05rem 0}
table.left thead{display:none}table.left tr+tr{border-top:1px solid var(--rule);margin-top:.4rem;padding-top:.4rem}}
@media print{section,.card{break-inside:avoid}}
"""


def text(value: object) -> str:
    """Any value as escaped text, cut at 2,000 characters; what cannot be printed becomes a space."""
    shown = str(value)
    if len(shown) > _CHARS_MAX:
        shown = f"{shown[: _CHARS_MAX - 1]}…"
    return escape("".join(c if c.isprintable() or c == "\n" else " " for c in shown))


def page(title: str, body: str) -> str:
    """A whole HTML document that loads nothing from anywhere."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def card(label: str, value: str, note: str = "") -> str:
    """One headline figure."""
    below = f"<dd>{text(note)}</dd>" if note else ""
    return f'<dl class="card"><dt>{text(label)}</dt><dd>{text(value)}</dd>{below}</dl>'


def card_row(cards: Iterable[str]) -> str:
    """Headline figures side by side."""
    return f'<div class="cards">{"".join(cards)}</div>'


def section(title: str, body: str, *, wide: bool = False) -> str:
    """A titled box; `body` is HTML."""
    css = ' class="wide"' if wide else ""
    return f"<section{css}><h2>{text(title)}</h2>{body}</section>"


def figure(chart: str, keys: Sequence[tuple[str, str]] = ()) -> str:
    """A chart (SVG) and its key: (css class, label)."""
    key = "".join(f'<span><i class="{css}"></i>{text(label)}</span>' for css, label in keys)
    return f'<figure>{chart}<p class="key">{key}</p></figure>' if key else f"<figure>{chart}</figure>"


def details(label: str, body: str) -> str:
    """HTML that is folded away."""
    return f"<details><summary>{text(label)}</summary>{body}</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: bool = False) -> str:
    """A table of texts; the first cell of a row is its heading."""
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{text(first)}</th>{"".join(f"<td>{text(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    css = ' class="left"' if left else ""
    return f'<div class="scroll"><table{css}><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def definition_table(pairs: Mapping[str, object]) -> str:
    """Names and values, at most 100 of them."""
    rows = [f'<tr><th scope="row">{text(k)}</th><td>{text(v)}</td></tr>' for k, v in list(pairs.items())[:_ENTRIES_MAX]]
    return f'<table class="left"><tbody>{"".join(rows)}</tbody></table>'


def _with_note(label: str) -> str:
    first, _, note = label.partition("\n")
    return text(first) + (f"<small>{text(note)}</small>" if note else "")


def bar_table(rows: Sequence[tuple[str, float, str, str]], caption: str) -> str:
    """Horizontal bars that are a table as well: (label, size >= 0, figure, css class of the bar).

    What follows a line break in a label is a note under it.
    """
    most = max((size for _, size, _, _ in rows), default=0.0) or 1.0
    body = "".join(
        f'<tr><th scope="row">{_with_note(label)}</th><td class="n">{text(shown)}</td><td class="bar">'
        + (f'<span class="{css}" style="width:{100 * size / most:.1f}%"></span>' if size > 0 else "")
        + "</td></tr>"
        for label, size, shown, css in rows
    )
    return f'<table class="bars"><caption>{text(caption)}</caption><tbody>{body}</tbody></table>'
