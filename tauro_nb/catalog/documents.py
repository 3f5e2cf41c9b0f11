"""YAML (and JSON) text to values, without the three things YAML readers forgive: duplicate keys, cycles, bombs."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from tauro_nb.catalog.reading import Site

__all__ = ["read_document"]

_QUOTED: Final = re.compile(r"\s*(['\"]).*\1", re.DOTALL)
_MAX_NODES: Final = 500_000


def read_document(document: str, site: Site) -> Any:
    r"""Parse one YAML document; mistakes go to the site, and the value is None where it cannot be read at all.

    >>> site = Site()
    >>> read_document("a: 1\nb: {c: 1, c: 2}", site), site.mistakes
    ({'a': 1, 'b': {'c': 2}}, ['b.c: the key is written twice, in lines 2 and 2'])
    """
    try:
        loader = yaml.SafeLoader(document.removeprefix("\ufeff"))
    except yaml.YAMLError:
        site.report("the text holds characters that YAML does not allow")
        return None
    try:
        node = loader.get_single_node()
        if node is not None and _check(node, site):
            return loader.construct_document(node)
    except yaml.YAMLError as error:
        site.report(_sentence(error))
    except RecursionError:
        site.report("nested too deeply to be a configuration")
    except (ValueError, TypeError, OverflowError):
        # A date such as 2024-13-01, an integer such as 0b2: PyYAML's own message would show the value.
        site.report("a value looks like a date or a number and is none; put it in quotes")
    finally:
        loader.dispose()
    return None


def _sentence(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the excerpt and the quoted text that PyYAML adds: they may hold a secret."""
    problem = getattr(error, "problem", None) or "this is not YAML"
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + _QUOTED.sub("", str(problem)).strip()


def _check(root: yaml.Node, site: Site) -> bool:
    """Report duplicate keys with both lines; say whether the document is finite and of a sane size."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, at: Site, above: frozenset[int]) -> int:
        if id(node) in above:
            at.report("an alias refers to something that it is part of")
            return _MAX_NODES + 1
        if id(node) not in sizes:
            inner = above | {id(node)}
            sizes[id(node)] = 1 + sum(size(child, place, inner) for child, place in _children(node, at))
        return sizes[id(node)]

    before = len(site.mistakes)
    total = size(root, site, frozenset())
    cyclic = any("an alias refers" in mistake for mistake in site.mistakes[before:])
    if total > _MAX_NODES and not cyclic:
        site.report("aliases make this document enormous")
    return total <= _MAX_NODES


def _children(node: yaml.Node, at: Site) -> list[tuple[yaml.Node, Site]]:
    if isinstance(node, yaml.SequenceNode):
        return [(child, at.at(index)) for index, child in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return []
    lines: dict[tuple[str, str], int] = {}
    children = []
    for key, value in node.value:
        name = str(key.value) if isinstance(key, yaml.ScalarNode) else "(a list or mapping)"
        place = at.at(name)
        if isinstance(key, yaml.ScalarNode):
            line = key.start_mark.line + 1
            if (key.tag, name) in lines:
                place.report(f"the key is written twice, in lines {lines[key.tag, name]} and {line}")
            lines.setdefault((key.tag, name), line)
        children += [(key, place), (value, place)]
    return children
