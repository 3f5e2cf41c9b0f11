"""Split what follows a magic's name into options and the rest, and say plainly what is wrong with it.

`magic_arguments` describes the options and writes the help. Reading the line is done here, because SQL follows options
on the same line, JSON values hold spaces, and an unknown option deserves the nearest name.
"""

from __future__ import annotations

import argparse
import json
import keyword
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from IPython.core.error import UsageError as ShellUsageError

from tauro_nb.errors import UsageError, nearest

__all__ = ["Line", "assigned", "none", "one_of", "options_of", "read", "single", "variable"]

_ASSIGNED = re.compile(r"\s*(?P<name>[^\s<]+)\s*<<(?!<)\s*(?P<rest>.*)\Z", re.DOTALL)
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s"'])+""", re.DOTALL)
_OPTION = re.compile(r"--?[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Line:
    """Options, the other words before the SQL, and the SQL that follows on the same line."""

    options: argparse.Namespace
    words: tuple[str, ...]
    rest: str


def one_of(*choices: str) -> Callable[[str], str]:
    """An argument type: one of these words.

    >>> one_of("table", "pandas")("panda")
    Traceback (most recent call last):
        ...
    argparse.ArgumentTypeError: `panda` is not one of table, pandas. Did you mean `pandas`?
    """

    def check(value: str) -> str:
        if value not in choices:
            raise argparse.ArgumentTypeError(f"`{value}` is not one of {', '.join(choices)}.{nearest(value, choices)}")
        return value

    check.__name__ = "choice"
    check.choices = choices  # type: ignore[attr-defined]  # completion offers them
    return check


def variable(name: str) -> str:
    """A name that a notebook variable can have.

    Raises
    ------
    UsageError
        It cannot.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise UsageError(f"`{name}` cannot be the name of a variable.")
    return name


def read(function: Any, line: str, *, sql_follows: bool = False) -> Line:
    """Parse the text behind a magic's name.

    Parameters
    ----------
    function
        The magic; `magic_arguments` gave it a parser.
    line
        The text.
    sql_follows
        Options come first, and everything from the first other word on is SQL. Otherwise options and words mix.

    Raises
    ------
    UsageError
        An unknown option, a bad value, an unclosed quotation mark.
    """
    parser: argparse.ArgumentParser = function.parser
    arguments, words, position = [], [], 0
    while position < len(line):
        if line[position].isspace():
            position += 1
        elif line.startswith("--", position) and not line[position + 2 : position + 3].strip():
            position += 2
            break
        elif _OPTION.match(line, position):
            taken, position = _option(parser, line, position)
            arguments += taken
        elif sql_follows:
            break
        else:
            word, position = _word(line, position)
            words.append(word)
    try:
        options, _ = parser.parse_known_args(arguments)
    except ShellUsageError as error:
        raise _plain(error) from None
    return Line(options, tuple(words), line[position:].strip())


def options_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.Action]:
    """Every option of a parser by name."""
    return parser._option_string_actions  # noqa: SLF001 - argparse has no public way to ask


def _plain(error: Exception) -> UsageError:
    text = str(error).removeprefix("argument ")
    return UsageError(text if text.endswith((".", "?")) else f"{text}.")


def _option(parser: argparse.ArgumentParser, line: str, position: int) -> tuple[list[str], int]:
    """One option with its value, as argparse takes them, and where it ends."""
    match = re.compile(r"--[\w-]+|-\w").match(line, position)
    assert match is not None
    name, end = match[0], match.end()
    actions = options_of(parser)
    action = actions.get(name)
    if action is None:
        known = [option for option in actions if option.startswith("--")]
        magic = parser.prog.split()[-1].lstrip("%")
        raise UsageError(f"unknown option `{name}`.{nearest(name, known)}", hint=f"`%{magic}?` shows the options.")
    if action.nargs == 0:
        return [name], end
    if line[end : end + 1] == "=":
        end += 1
    while line[end : end + 1].isspace():
        end += 1
    if end >= len(line) or line[end:].split(maxsplit=1)[0] in actions:
        raise UsageError(f"`{name}` needs a value.")
    value, end = _json(name, line, end) if line[end] in "{[" else _word(line, end)
    return [f"{name}={value}" if name.startswith("--") else f"{name}{value}"], end


def _json(name: str, line: str, position: int) -> tuple[str, int]:
    try:
        _, end = json.JSONDecoder().raw_decode(line, position)
    except json.JSONDecodeError as error:
        raise UsageError(
            f"the value of `{name}` is not JSON: {error.msg}.", sql=line, line=1, col=error.pos + 1
        ) from None
    return line[position:end], end


def _word(line: str, position: int) -> tuple[str, int]:
    match = _WORD.match(line, position)
    if match is None:
        raise UsageError("a quotation mark is not closed.", sql=line, line=1, col=position + 1)
    text = match[0]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    return text, match.end()


def assigned(text: str) -> tuple[str | None, str]:
    """Take `name <<` off the front.

    >>> assigned("top << SELECT 1")
    ('top', 'SELECT 1')
    >>> assigned("SELECT 1 << 2")
    (None, 'SELECT 1 << 2')
    """
    match = _ASSIGNED.match(text)
    return (match["name"], match["rest"]) if match else (None, text)


def none(words: Iterable[str], example: str) -> None:
    """Refuse words where a magic takes only options."""
    for word in words:
        raise UsageError(f"`{word}` is one word too many: only options go here.", hint=example)


def single(words: Iterable[str], what: str, example: str) -> str | None:
    """The only word, or None; more than one is a mistake."""
    found = list(words)
    if len(found) > 1:
        raise UsageError(f"`{found[1]}` is one word too many: {what} is one word.", hint=example)
    return found[0] if found else None
