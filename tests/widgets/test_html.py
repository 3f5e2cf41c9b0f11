from __future__ import annotations

import ast
import sys
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tauro_nb.html
import tauro_nb.text
from tauro_nb.html import Html, badge, el, fragment, style, table
from tauro_nb.text import clip, one_line, size, text_table, visible, width


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


@pytest.mark.parametrize("place", ["child", "attribute", "cell", "header", "caption"])
def test_a_hostile_value_stays_text(place: str, hostile: tuple[str, ...]) -> None:
    harmless = {
        "child": lambda text: el("p", text),
        "attribute": lambda text: el("p", title=text),
        "cell": lambda text: table([[text]], ["x"]),
        "header": lambda text: table([[1]], [text]),
        "caption": lambda text: table([[1]], ["x"], caption=text),
    }[place]
    expected = Elements(str(harmless("calm")))
    for text in hostile:
        found = Elements(str(harmless(text)))
        assert found.tags == expected.tags
        assert found.attributes == expected.attributes
        assert not set(str(harmless(text))) & set("\x00\x1b\u202e\u2066")


@pytest.mark.parametrize("tag", ["script", "IFRAME", "style", "object", "img", "a b", "x>", ""])
def test_an_element_that_runs_or_loads_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        el(tag)


@pytest.mark.parametrize("name", ["onclick", "ONLOAD", "href", "src", "srcdoc", "style", "a b", "x=y"])
def test_an_attribute_that_runs_or_loads_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        el("p", **{name: "x"})


def test_children_may_be_nested_missing_and_numbers() -> None:
    assert str(fragment(["a", [el("b", 1), None, False]], (n for n in (2, 3)))) == "a<b>1</b>23"


def test_a_stylesheet_cannot_close_itself() -> None:
    with pytest.raises(ValueError, match="cannot contain"):
        style("</style><b>")


def test_html_is_equal_by_text_and_shows_itself() -> None:
    made = badge("●", "on", "ok")
    assert made == Html(str(made))
    assert hash(made) == hash(Html(str(made)))
    assert made._repr_html_() == made.__html__() == str(made)
    assert made != str(made)


def test_cells_show_null_numbers_truth_and_long_text() -> None:
    text = str(table([[None, 1.5, Decimal("2.50"), True, "x" * 300]], list("abcde"), max_chars=10))
    assert '<span class="t-null">NULL</span>' in text
    assert text.count('class="t-num"') == 2
    assert "<td>True</td>" in text
    assert f'title="{"x" * 300}">xxxxxxxxx…</td>' in text


def test_a_lone_surrogate_can_be_sent() -> None:
    assert visible("\ud83d").encode() == b"\\ud83d"


def test_text_that_people_need_survives() -> None:
    assert visible("می\u200cخواهم 👩\u200d💻 naïve\n\t表") == "می\u200cخواهم 👩\u200d💻 naïve\n\t表"


def test_wide_text_is_measured_and_aligned() -> None:
    assert width("表a") == 3
    assert clip("表表表", 4) == "表…"
    lines = text_table([("表", 1), ("ab\nc", None)], ["x", "n"], right=[1]).splitlines()
    assert lines == ["x     n", "----  -", "表    1", "ab c"]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999_499, "999 KB"), (999_500, "1.0 MB"), (2**70, "1,180,592 PB")],
)
def test_bytes_round_into_the_next_unit(number: int, text: str) -> None:
    assert size(number) == text


def test_one_line_cannot_be_two() -> None:
    assert one_line("a\r\n b\u2028c\x85d") == "a\\x0d b\\u2028c\\x85d"


@pytest.mark.parametrize("module", [tauro_nb.html, tauro_nb.text])
def test_every_room_may_import_it(module: object) -> None:
    """Rooms below the widgets use the builder, so it may need nothing but the standard library."""
    path = Path(str(module.__file__))  # type: ignore[attr-defined]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            assert name.split(".")[0] in sys.stdlib_module_names or name == "tauro_nb.text"
