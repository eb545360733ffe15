"""A standalone HTML page: plotly.js inside, nothing from the network, written whole or not at all."""

import html
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from scn_fastai.errors import RunError
from scn_fastai.files import write_whole

CSS = """
body { margin: 0; background: #F4F5F7; color: #222; font: 17px/1.5 "Noto Sans", "DejaVu Sans", Arial,
       "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 24px 30px 60px; background: #fff; }
h1 { font-size: 30px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 23px; margin: 46px 0 8px; padding-top: 14px; border-top: 2px solid #DDD; }
h3 { font-size: 18px; margin: 24px 0 4px; }
p { max-width: 900px; margin: 8px 0; }
.lead { color: #444; margin-bottom: 18px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 12px; margin: 18px 0; }
.tile { background: #EEF4F9; border-left: 5px solid #0072B2; padding: 10px 14px; }
.tile b { display: block; font-size: 27px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile span { font-size: 15px; color: #333; }
.tile small { display: block; color: #555; font-size: 13px; line-height: 1.35; }
.read { background: #FFF8E6; border-left: 5px solid #E69F00; padding: 8px 16px; margin: 10px 0 16px; max-width: 960px; }
.figure { overflow-x: auto; }
nav a { margin-right: 18px; color: #00558A; }
table { border-collapse: collapse; margin: 14px 0; font-size: 16px; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 14px 6px 0; text-align: right; border-bottom: 1px solid #DDD; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
td { white-space: nowrap; }
th { border-bottom: 2px solid #888; }
.settings td, .settings th { text-align: left; white-space: normal; font-size: 15px; padding: 3px 22px 3px 0; }
summary { cursor: pointer; font-weight: bold; padding: 6px 0; }
"""
CONFIG = {"displaylogo": False, "displayModeBar": False, "responsive": True}


def escape(text: object) -> str:
    """Text that stands in HTML as it is."""
    return html.escape(str(text))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; `kind` is a class of the style sheet."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def how_to_read(text: str) -> str:
    """The box that says how to read a picture."""
    return f'<div class="read"><b>How to read it.</b> {escape(text)}</div>'


def figure_html(figure: go.Figure, name: str) -> str:
    """A figure as a part of the page; `name` makes its id, the same each time."""
    body = figure.to_html(full_html=False, include_plotlyjs=False, config=CONFIG, div_id=f"figure-{name}")
    return f'<div class="figure">{body}</div>'


def tile(value: str, words: str, note: str = "") -> str:
    """A headline number with its name and a note."""
    return f"<div class='tile'><b>{escape(value)}</b><span>{escape(words)}</span><small>{escape(note)}</small></div>"


def html_table(frame: pd.DataFrame, kind: str = "") -> str:
    """A table of texts, without its index."""
    head = "".join(f"<th>{escape(name)}</th>" for name in frame.columns)
    rows = ("".join(f"<td>{escape(v)}</td>" for v in row) for row in frame.itertuples(index=False))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="figure">{table}</div>'


def section(name: str, title: str, parts: Iterable[str]) -> str:
    """A section with a heading that links reach as #name."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>' + "\n".join(parts) + "</section>"


def page(title: str, body: str) -> str:
    """The whole page as text; plotly.js stands in it once."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style>"
        f"<script>{get_plotlyjs()}</script></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def write_page(path: str | Path, text: str) -> Path:
    """Write a page beside its place, then put it there: what was there before stays until it is whole.

    Raises:
        RunError: it cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        raise RunError(
            f"The report could not be written to {path} ({error.strerror or error}): make room or choose another place."
        ) from error
    return path


def number(value: object, form: str = ".1%", missing: str = "not known") -> str:
    """A number in words, or `missing` where there is none.

    >>> number(0.712), number(None), number(3120.4, ",.0f")
    ('71.2%', 'not known', '3,120')
    """
    if value is None or not isinstance(value, int | float) or value != value:
        return missing
    return format(value, form)


def duration(seconds: object) -> str:
    """Seconds as a person says them.

    >>> duration(42.3), duration(400), duration(None)
    ('42 s', '6 min 40 s', 'not known')
    """
    if number(seconds) == "not known":
        return "not known"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
