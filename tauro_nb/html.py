"""HTML that is escaped by construction: the only way in for text is as text.

`el("b", value)` escapes `value`; an `Html` child is kept, because only this module makes one. Elements and
attributes that run code or load something cannot be written at all.
"""

from __future__ import annotations

import html as _stdlib
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from tauro_nb.text import clip, visible

__all__ = ["THEME", "Html", "badge", "code", "details", "el", "escape", "fragment", "is_number", "style", "table"]

_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*\Z")
_VOID: Final = frozenset({"br", "col", "hr", "input", "wbr"})
_REFUSED_TAGS: Final = frozenset({"base", "embed", "iframe", "img", "link", "meta", "object", "script", "style", "use"})
_REFUSED_ATTRIBUTES: Final = frozenset({"action", "data", "formaction", "href", "src", "srcdoc", "srcset", "style"})

#: Colours come from the notebook's theme; the fallbacks are legible on white and on near-black.
THEME: Final = """
.tauro{--t-fg:var(--jp-ui-font-color1,var(--vscode-foreground,currentColor));
--t-dim:color-mix(in srgb,var(--t-fg) 74%,transparent);
--t-bg:var(--jp-layout-color1,transparent);--t-sub:color-mix(in srgb,var(--t-fg) 6%,transparent);
--t-line:var(--jp-border-color2,rgba(128,128,128,.32));--t-accent:var(--jp-brand-color1,#2f80d8);
--t-warn:var(--jp-warn-color1,#c77700);--t-bad:var(--jp-error-color1,#d9483b);--t-ok:var(--jp-success-color1,#2e9b57);
--t-code:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace);
color:var(--t-fg);font:13px/1.5 var(--jp-ui-font-family,system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif);
max-width:100%;text-align:left}
.tauro *,.tauro{box-sizing:border-box}
.tauro p{margin:2px 0 5px}.tauro .t-dim{color:var(--t-dim)}.tauro .t-title{font-weight:600;font-size:14px;margin:0}
.tauro .t-head{display:flex;flex-wrap:wrap;gap:2px 12px;align-items:baseline;margin:0 0 8px}
.tauro.tauro.tauro code,.tauro.tauro.tauro pre,.tauro.tauro.tauro .t-code{font:12px/1.55 var(--t-code);
color:var(--t-fg);background:none;padding:0;border:0}
.tauro.tauro.tauro pre{margin:4px 0 8px;padding:8px 10px;background:var(--t-sub);border-radius:4px;white-space:pre-wrap;
overflow-wrap:anywhere}
.tauro details{margin:2px 0}.tauro summary{cursor:pointer;padding:1px 2px;border-radius:3px}
.tauro summary:focus-visible,.tauro button:focus-visible{outline:2px solid var(--t-accent);outline-offset:1px}
.tauro .t-scroll{overflow-x:auto}
.tauro table.t-table{border-collapse:collapse;border:0;margin:4px 0 8px;table-layout:auto;font-size:12px;width:auto}
.tauro table.t-table caption{caption-side:bottom;text-align:left;padding:4px 0;color:var(--t-dim)}
.tauro table.t-table :is(th,td){text-align:left;vertical-align:top;padding:4px 14px 4px 6px;border:0;
border-bottom:1px solid var(--t-line);max-width:none;white-space:normal;overflow-wrap:anywhere;color:var(--t-fg)}
.tauro table.t-table td:nth-child(-n+2){overflow-wrap:break-word}
.tauro table.t-table thead th{font-weight:600;border-bottom:2px solid var(--t-line);color:var(--t-dim);
overflow-wrap:normal;white-space:nowrap;background:none}
.tauro table.t-table tbody tr,.tauro table.t-table tbody tr:nth-child(n){background:none}
.tauro table.t-table tbody tr:hover{background:var(--t-sub)}
.tauro table.t-table :is(th,td).t-num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.tauro.tauro.tauro :is(code,.t-code).t-dim{color:var(--t-dim)}
.tauro .t-null{color:var(--t-dim);font-style:italic}
.tauro .t-badge{display:inline-block;white-space:nowrap;font-size:11px;line-height:1.45;padding:0 7px;
border:1px solid var(--t-line);border-radius:9px;color:var(--t-fg)}
.tauro .t-badge>i{font-style:normal;margin-right:4px;color:var(--t-dim)}
.tauro .t-badge.t-warn{border-color:var(--t-warn);border-style:dashed}
.tauro .t-badge.t-warn>i,.tauro i.t-warn{color:color-mix(in srgb,var(--t-warn) 65%,var(--t-fg))}
.tauro .t-badge.t-bad{border-color:var(--t-bad);border-width:2px}
.tauro .t-badge.t-bad>i,.tauro i.t-bad{color:color-mix(in srgb,var(--t-bad) 75%,var(--t-fg))}
.tauro .t-badge.t-ok{border-color:var(--t-ok)}
.tauro .t-badge.t-ok>i{color:color-mix(in srgb,var(--t-ok) 75%,var(--t-fg))}
.tauro .t-badge.t-accent{border-color:var(--t-accent)}.tauro .t-badge.t-accent>i{color:var(--t-accent)}
"""


class Html:
    """Text that is HTML already. Build it with `el`, never from a value.

    >>> Html("<b>1</b>")
    Html('<b>1</b>')
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Html({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Html) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __html__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.text


#: What `el` takes: text and numbers are escaped, `None` and booleans vanish, sequences are flattened.
Child = object


def escape(value: object) -> str:
    r"""Escape for element content and quoted attributes alike; invisible characters become visible.

    >>> escape("<img src=x onerror='alert(1)'>")
    '&lt;img src=x onerror=&#x27;alert(1)&#x27;&gt;'
    """
    return _stdlib.escape(visible(value), quote=True)


def _flat(children: Iterable[Child]) -> Iterator[str]:
    for child in children:
        if isinstance(child, Html):
            yield child.text
        elif child is None or isinstance(child, bool):
            continue
        elif isinstance(child, Iterable) and not isinstance(child, (str, bytes)):
            yield from _flat(child)
        else:
            yield escape(child)


def _attribute(name: str, value: object) -> str:
    key = name.rstrip("_").replace("_", "-")
    if not _NAME.match(key) or key.lower().startswith("on") or key.lower() in _REFUSED_ATTRIBUTES:
        msg = f"attribute `{key}` is not allowed in generated HTML"
        raise ValueError(msg)
    return f" {key}" if value is True else f' {key}="{escape(value)}"'


def el(tag: str, /, *children: Child, **attributes: object) -> Html:
    """Build one element.

    Parameters
    ----------
    tag
        Element name. Elements that run code or load something are refused.
    children
        Text (escaped), `Html` (kept), sequences of these; None and booleans vanish.
    attributes
        `class_` writes `class`, `aria_label` writes `aria-label`; True writes a bare attribute, None and False none.

    Examples
    --------
    >>> str(el("td", "a < b", class_="x", hidden=True, title=None))
    '<td class="x" hidden>a &lt; b</td>'
    >>> el("a", "x", onclick="steal()")
    Traceback (most recent call last):
        ...
    ValueError: attribute `onclick` is not allowed in generated HTML
    """
    if not _NAME.match(tag) or tag.lower() in _REFUSED_TAGS:
        msg = f"element `{tag}` is not allowed in generated HTML"
        raise ValueError(msg)
    opened = "".join(
        _attribute(name, value) for name, value in attributes.items() if value is not None and value is not False
    )
    return Html(f"<{tag}{opened}>" if tag in _VOID else f"<{tag}{opened}>{''.join(_flat(children))}</{tag}>")


def fragment(*children: Child) -> Html:
    """Join children without an element around them.

    >>> str(fragment("a & b", el("br"), ["c", None]))
    'a &amp; b<br>c'
    """
    return Html("".join(_flat(children)))


def style(css: str = THEME) -> Html:
    """Write a stylesheet; the text is ours, never a value.

    >>> str(style(".a{color:red}"))
    '<style>.a{color:red}</style>'
    """
    if "<" in css:
        msg = "a stylesheet cannot contain `<`"
        raise ValueError(msg)
    return Html(f"<style>{css.strip()}</style>")


def code(text: object) -> Html:
    """Write text in the code font.

    >>> str(code("a<b"))
    '<code>a&lt;b</code>'
    """
    return el("code", text)


def badge(glyph: str, text: object, tone: str = "", title: object = None) -> Html:
    """A small label: glyph and words carry the meaning, the tone (`ok`, `warn`, `bad`, `accent`) only repeats it.

    >>> str(badge("●", "connected", "ok"))
    '<span class="t-badge t-ok"><i aria-hidden="true">●</i>connected</span>'
    """
    tones = f"t-badge t-{tone}" if tone else "t-badge"
    return el("span", el("i", glyph, aria_hidden="true"), text, class_=tones, title=title)


def details(summary: Child, *children: Child, opened: bool = False, **attributes: object) -> Html:
    """A part that folds without a script.

    >>> str(details("SQL", el("pre", "SELECT 1"), opened=True))
    '<details open><summary>SQL</summary><pre>SELECT 1</pre></details>'
    """
    return el("details", el("summary", summary), *children, open=opened, **attributes)


def is_number(value: object) -> bool:
    """Whether a value is shown as a number: to the right.

    >>> is_number(1.5), is_number(True), is_number("1")
    (True, False, False)
    """
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _cell(value: object, max_chars: int, null: str) -> Html:
    if value is None:
        return el("td", el("span", null, class_="t-null"))
    if isinstance(value, Html):
        return el("td", value)
    text = visible(value)
    short = clip(text, max_chars)
    return el("td", short, class_="t-num" if is_number(value) else None, title=text if short != text else None)


def table(
    rows: Iterable[Sequence[object]],
    headers: Sequence[object],
    *,
    caption: Child = None,
    numeric: Iterable[int] = (),
    max_chars: int = 200,
    null: str = "NULL",
) -> Html:
    """Build a table; every cell is escaped, numbers are right-aligned.

    Parameters
    ----------
    rows
        Sequences of values; an `Html` cell is kept.
    headers
        One per column.
    caption
        Shown under the table.
    numeric
        Positions of columns whose header is right-aligned too.
    max_chars
        Longer text is clipped; the whole is in the cell's title.
    null
        How None looks.

    Examples
    --------
    >>> str(table([("<b>", 1)], ["name", "n"]))  # doctest: +ELLIPSIS
    '<div class="t-scroll"><table class="t-table">...<td>&lt;b&gt;</td><td class="t-num">1</td>...'
    """
    ends = frozenset(numeric)
    head = [
        el("th", header, scope="col", class_="t-num" if index in ends else None) for index, header in enumerate(headers)
    ]
    body = [el("tr", [_cell(value, max_chars, null) for value in row]) for row in rows]
    return el(
        "div",
        el(
            "table",
            el("caption", caption) if caption else None,
            el("thead", el("tr", head)),
            el("tbody", body),
            class_="t-table",
        ),
        class_="t-scroll",
    )
