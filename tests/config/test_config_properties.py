from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tauro_nb.catalog import CacheStrategy, SourceType, VirtualTable
from tauro_nb.catalog.documents import read_document
from tauro_nb.catalog.reading import Site
from tauro_nb.config import CatalogConfig, load_config
from tauro_nb.errors import ConfigError

WORDS = (
    "virtualization enabled connections virtual_tables security_policies principals default_access audit type uri path "
    "options connection connection_id table table_name query schema tags source_type connector_type cache_strategy "
    "roles attributes on_failure field_policies postgresql sqlite duckdb csv view INTEGER ${X} ${} ${X:-y} $${X} "
    "postgresql://u:p@h/d sqlite:///x ://"
).split()
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.datetimes(), st.binary(max_size=3),
    st.sampled_from(WORDS), st.text(max_size=8),
)  # fmt: skip
keys = st.one_of(st.sampled_from(WORDS), st.text(max_size=5), st.integers(), st.none(), st.booleans(), st.dates())
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4), st.tuples(inner), st.sets(st.integers())
    ),
    max_leaves=12,
)
SECTIONS = WORDS[2:6]
sections = st.dictionaries(
    st.sampled_from(WORDS[:8]), st.one_of(values, st.dictionaries(keys, st.dictionaries(keys, values, max_size=4)))
)


def outcome(source: Any) -> CatalogConfig | tuple[str, ...]:
    """The configuration, or its mistakes; any other exception is a failure of the test."""
    try:
        return load_config(source, env={"X": "value"})
    except ConfigError as error:
        return error.mistakes


@given(st.one_of(values, sections))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_input_it_is_a_configuration_or_a_config_error(raw: Any) -> None:
    if isinstance(raw, str) and Path(raw).is_file():
        return
    result = outcome(raw)
    assert isinstance(result, CatalogConfig) or (result and all(line and line.isprintable() for line in result))


@pytest.mark.parametrize("section", SECTIONS)
@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_wrong_section_does_not_hide_a_mistake_elsewhere(section: str, data: st.DataObject) -> None:
    raw = {section: data.draw(values), "default_access": "perhaps"}
    result = outcome(raw)
    assert isinstance(result, tuple)
    assert "default_access: `perhaps` is not known here. Known: allow, deny." in result


@given(st.one_of(st.text(max_size=60), values.map(yaml.dump)))
@example("a: &x [*x]")
@example("a: 2024-13-01")
@example("a: 0b2")
@example("? [1]\n: 2")
@example("{{a: 1}: 2}")
@example("!!python/object:os.system x")
@example("%YAML 9.9\n---\n")
@example("a: .inf\n<<: 3")
@example("--- 1\n--- 2")
@example("\ufeffa: 1")
@example("[" * 4000)
@settings(max_examples=120, deadline=None)
def test_any_document_is_read_or_reported(document: str) -> None:
    site = Site()
    value = read_document(document, site)
    assert value is None or not site.mistakes or "twice" in "".join(site.mistakes)


POLICY = (
    "allowed_roles row_level_filters field_policies audit_all_access requires_encryption table_name field_name "
    "access_level masking_enabled mask mask_value encryption_enabled"
).split()
policies = st.dictionaries(
    st.sampled_from(POLICY), st.one_of(values, st.dictionaries(keys, st.dictionaries(st.sampled_from(POLICY), values)))
)
principals = st.one_of(values, st.fixed_dictionaries({}, optional={"roles": values, "attributes": values}))


@given(st.dictionaries(st.sampled_from(["ana", "bob"]), principals), st.dictionaries(st.just("t"), policies))
@settings(max_examples=150, deadline=None)
def test_the_security_room_reports_and_does_not_raise(people: Any, rules: Any) -> None:
    result = outcome({"principals": people, "security_policies": rules})
    assert isinstance(result, CatalogConfig) or (result and all(line and line.isprintable() for line in result))


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 20))
    site = Site()
    assert read_document(bomb, site) is None
    assert site.mistakes == ["aliases make this document enormous"]


def test_duplicate_keys_anywhere_have_their_place_and_both_lines(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("virtual_tables:\n  a:\n    path: a.csv\n    path: b.csv\n  b: {path: b.csv}\n  a: {path: c.csv}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.mistakes == (
        "virtual_tables.a: the key is written twice, in lines 2 and 6",
        "virtual_tables.a.path: the key is written twice, in lines 3 and 4",
    )


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "virtual_tables:\n"
        "  a: &base {path: a.csv, tags: [x], description: first}\n"
        "  b: {<<: *base, description: second}\n"
    )
    assert [(t.tags, t.description) for t in load_config(file).tables] == [(["x"], "first"), (["x"], "second")]


plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
some_text = plain_text.filter(bool)
names = some_text.filter(lambda name: name == name.strip() and name.isprintable() and bool(name))
parameters = st.dictionaries(
    plain_text, st.one_of(st.integers(), st.booleans(), plain_text, st.lists(plain_text, max_size=2)), max_size=3
)


@st.composite
def tables(draw: st.DrawFn) -> VirtualTable:
    columns = draw(st.lists(some_text, max_size=4, unique_by=str.casefold))
    types = st.sampled_from(["STRING", "int", "DECIMAL(10,2)", "ARRAY<DATE>", "STRUCT(a INT)", "timestamptz"])
    return VirtualTable(
        draw(names),
        source_type=draw(st.sampled_from(SourceType)),
        connector_type=draw(st.sampled_from(["csv", "postgres", "snowflake", "rest"])),
        connection_id=draw(some_text),
        table_name=draw(some_text),
        schema={column: draw(types) for column in columns},
        tags=draw(st.lists(plain_text, max_size=3)),
        source_tables=draw(st.lists(plain_text, max_size=3)),
        cache_strategy=draw(st.sampled_from(CacheStrategy)),
        cache_ttl_seconds=draw(st.integers(0, 10**6)),
        access_control=draw(
            st.dictionaries(st.sampled_from(["select", "INSERT"]), st.lists(plain_text, max_size=2), max_size=2)
        ),
        description=draw(plain_text),
        parameters=draw(parameters),
        options=draw(parameters),
    )


@given(tables())
@settings(max_examples=50, deadline=None)
def test_a_table_comes_back_from_what_it_writes(table: VirtualTable) -> None:
    written = table.to_mapping(secrets=True)
    assert VirtualTable.from_mapping(table.name, json.loads(json.dumps(written)), env={}) == table
    assert VirtualTable.from_mapping(table.name, yaml.safe_load(yaml.safe_dump(written)), env={}) == table


@given(tables())
@settings(max_examples=50, deadline=None)
def test_the_masked_form_is_json_and_loads_too(table: VirtualTable) -> None:
    written = json.loads(json.dumps(table.to_mapping()))
    assert VirtualTable.from_mapping(table.name, written, env={}).schema == table.schema


def test_dates_in_parameters_stay_dates_inside_and_become_text_outside() -> None:
    table = VirtualTable.from_mapping("t", {"path": "t.csv", "parameters": {"since": date(2024, 1, 1)}})
    assert table.parameters == {"since": date(2024, 1, 1)}
    assert table.to_mapping()["parameters"] == {"since": "2024-01-01"}
