"""What a deployment protects and what it does not: claims, live facts, a checklist. Guard rails, no certificate."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from tauro_nb.catalog.snapshot import SYSTEM
from tauro_nb.errors import nearest
from tauro_nb.html import Html, badge
from tauro_nb.oversight.checklist import CONTROLS, UNTOLD, CheckResult, check
from tauro_nb.report import Report, Sheet
from tauro_nb.security.claims import CLAIMS, MODES
from tauro_nb.text import plural

if TYPE_CHECKING:
    from tauro_nb.context import VirtualContext

__all__ = ["Fact", "Posture", "posture"]

Weight = Literal["ok", "note", "warn", "bad"]
_MODE: Final = "embedded"
_MARKS: Final[Mapping[str, Html]] = {
    "ok": badge("●", "ok", "ok"),
    "warn": badge("◐", "warn", "warn"),
    "bad": badge("⊘", "bad", "bad"),
    "pass": badge("●", "pass", "ok"),
    "fail": badge("⊘", "fail", "bad"),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is so, how much it matters, and what would change it."""

    about: str
    weight: Weight
    says: str
    cure: str = ""


@dataclass(frozen=True, repr=False)
class Posture(Report):
    """What holds here.

    Parameters
    ----------
    mode
        Where policies are applied.
    facts
        What the configuration says, the gravest first.
    checks
        Controls mapped to regulations, and whether the configuration has them.
    mistakes
        What is wrong with the store of policies; only for those who may read policies.
    """

    mode: str
    principal: str
    policy_version: str
    facts: tuple[Fact, ...]
    checks: tuple[CheckResult, ...]
    mistakes: tuple[str, ...] = ()

    def sheets(self) -> Sequence[Sheet]:
        """Claims, facts, mistakes in the policies, checklist."""
        claims = tuple((c.expected, c.embedded, c.delegated, c.gateway) for c in CLAIMS)
        facts = tuple((fact.weight, fact.about, fact.says, fact.cure) for fact in self.facts)
        untold = all(c.reason == UNTOLD for c in self.checks)
        reasons = [() if untold else (c.reason,) for c in self.checks]
        checks = tuple(
            (c.regulation, c.control, c.result, *why, c.rule) for c, why in zip(self.checks, reasons, strict=True)
        )
        grave = sum(fact.weight == "bad" for fact in self.facts)
        failed = sum(c.result == "fail" for c in self.checks)
        modes = tuple(f"{mode}: {words}." for mode, words in MODES.items())
        expected = ("what people expect", *(f"{mode}{' (here)' if mode == self.mode else ''}" for mode in MODES))
        version = f"; policies {self.policy_version[:12]}" if self.policy_version else ""
        graves = f"{plural(grave, 'grave finding')}{version}"
        missing = f"{failed} of {len(checks)} not in place; says nothing of the law"
        controls = ("regulation", "control", "", *(() if untold else ("because",)), "decided by")
        lead = (f"Reasons are {UNTOLD}.",) if untold else ()
        sheets = [
            Sheet("Posture", f"{self.mode} mode: guard rails, not walls", expected, claims, modes),
            Sheet("Configuration", graves, ("", "about", "is", "to change it"), facts, badges=_badges(0)),
            Sheet("Controls mapped to regulations", missing, controls, checks, lead, badges=_badges(2)),
        ]
        if self.mistakes:
            rows = tuple((mistake,) for mistake in self.mistakes)
            sheets.insert(2, Sheet("Policies", "cannot be used", ("mistake",), rows))
        return sheets


def _badges(position: int) -> dict[tuple[int, str], Html]:
    return {(position, word): mark for word, mark in _MARKS.items()}


def posture(ctx: VirtualContext) -> Posture:
    """What this deployment does and does not protect, from its live configuration. Reads no data.

    Parameters
    ----------
    ctx
        A context; what is wrong with the policies is shown to it only if its principal may read them.

    Examples
    --------
    >>> from tauro_nb import VirtualContext
    >>> found = posture(VirtualContext({"virtual_tables": {"one": {"query": "SELECT 1 AS a"}}}))
    >>> [fact.about for fact in found.facts if fact.weight == "bad"]
    ['default access']
    """
    order = list(_WEIGHTS)
    facts = [fact for find in _FACTS for fact in find(ctx)]
    return Posture(
        _MODE,
        ctx.principal.name,
        ctx.policy_version,
        tuple(sorted(facts, key=lambda fact: order.index(fact.weight))),
        tuple(check(ctx, control) for control in CONTROLS),
        ctx.security.book.mistakes if ctx.reads_policies else (),
    )


_WEIGHTS: Final[tuple[Weight, ...]] = ("bad", "warn", "note", "ok")


def _implicit_principal(ctx: VirtualContext) -> Iterator[Fact]:
    name = ctx.layer.config.security.default_principal
    who = ctx.security.principal(name)
    cure = "Set `security.default_principal` to a name without roles, and name who asks."
    if ctx.reads_policies_as(who):
        weight: Weight = "bad" if ctx.security.book.tables or ctx.security.book.tags else "warn"
        yield Fact("implicit principal", weight, f"who names nobody asks as `{name}`, who may read policies", cure)
    else:
        yield Fact("implicit principal", "ok", f"who names nobody asks as `{name}`")
    yield Fact("identity", "note", "a name is taken as it is given; one that is not declared is its own only role")


def _audit(ctx: VirtualContext) -> Iterator[Fact]:
    trail = ctx.layer.audit_trail
    if trail.on_failure == "continue":
        yield Fact(
            "audit failures", "bad", "`audit.on_failure: continue`: what cannot be recorded runs all the same",
            "Remove the line; `fail_operation` is the default.",
        )  # fmt: skip
    else:
        yield Fact("audit failures", "ok", "what cannot be recorded does not run")
    if trail.failures:
        yield Fact(
            "audit records lost", "bad", plural(trail.failures, "record could", "records could") + " not be written"
        )
    if trail.path is None:
        yield Fact("audit trail", "warn", "in memory: it ends with the process", "Set `audit.path`.")
        return
    yield Fact("audit trail", "ok", f"in a file; readers: {', '.join(trail.settings.readers)}")
    if not trail.has_second_place:
        yield Fact(
            "audit checkpoints", "warn", "beside the log: whoever changes the log can change them, too",
            "Set `audit.checkpoints` to a place that the asker cannot write.",
        )  # fmt: skip
    else:
        yield Fact("audit checkpoints", "ok", "in a place of their own")


def _keys(ctx: VirtualContext) -> Iterator[Fact]:
    if ctx.layer.keys.persistent:
        yield Fact("keys", "ok", "in a keyset file; unlocked in this process")
    else:
        cure = "Set `encryption.keyset` and `encryption.kek`."
        yield Fact("keys", "warn", "in memory: what they encrypt cannot be opened by another process", cure)


def _access(ctx: VirtualContext) -> Iterator[Fact]:
    bare = [name for name in ctx.security.tables_without_rules() if not name.startswith(f"{SYSTEM}.")]
    if ctx.security.default_access == "deny":
        yield Fact("default access", "ok", f"tables without a policy are closed ({plural(len(bare), 'table')})")
    else:
        listed = f": {', '.join(bare[:8])}{', ...' if len(bare) > 8 else ''}"
        names = listed if bare and ctx.reads_policies else ""
        says = f"tables without a policy are open to everybody ({plural(len(bare), 'table')}{names})"
        yield Fact("default access", "bad" if bare else "warn", says, "Set `default_access: deny`.")


def _labels(ctx: VirtualContext) -> Iterator[Fact]:
    registry, tags = ctx.layer.schema_registry, ctx.security.book.tags
    carried = {tag for table in registry.list_tables() for tag in table.tags}
    carried |= {tag for table in registry.list_tables() for listed in table.column_tags.values() for tag in listed}
    mute = sorted(tag for tag in carried if tag.casefold() not in tags)
    if not mute or not ctx.reads_policies:
        return
    slips = {tag: nearest(tag, [policy.tag for policy in tags.values()]) for tag in mute}
    for tag, hint in slips.items():
        if hint:
            yield Fact("tags", "bad", f"`{tag}` has no policy and guards nothing.{hint}", "Mend its spelling.")
    labels = [tag for tag, hint in slips.items() if not hint]
    if labels:
        says = f"tags without a policy are labels only: {', '.join(labels)}"
        yield Fact("tags", "note", says, "Write `tag_policies` for them.")


def _barrier(ctx: VirtualContext) -> Iterator[Fact]:
    if ctx.layer.config.security.barrier == "strict":
        yield Fact("barrier", "ok", "strict: no predicate of the user is evaluated before the policy")
    else:
        says = "leakproof: comparisons that cannot fail pass below a policy, and how long they take can be measured"
        yield Fact("barrier", "note", says, "Set `security.barrier: strict`; queries get slower.")


def _store(ctx: VirtualContext) -> Iterator[Fact]:
    store, book = ctx.security.store, ctx.security.book
    if store is None:
        says = "in the configuration and the program; no file is watched"
        yield Fact("policies", "note", says, "Set `security.policies` to keep them in a file under version control.")
        return
    if book.mistakes:
        says = f"`{store.name}` cannot be used ({plural(len(book.mistakes), 'mistake')}): everything is closed"
        yield Fact("policies", "bad", says, "Mend it; it is read again at once.")
    else:
        says = f"from `{store.name}`, read again when it changes; while it is wrong everything is closed"
        yield Fact("policies", "ok", says)
    if book.retired and not book.mistakes:
        says = f"they lost their last policy and are closed: {', '.join(sorted(book.retired))}"
        yield Fact("retired tables", "warn", says, "Name them again, or restart.")
    if any(map(_others_write, store.places())):
        says = f"other accounts may write `{store.name}`, or put another in its place"
        yield Fact("policy file", "bad", says, "Take the right to write from group and others, of its folder, too.")


def _others_write(path: Path) -> bool:
    """Whether group or others may change it; in a sticky folder they may not replace what is another's."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    sticky = stat.S_ISDIR(mode) and bool(mode & stat.S_ISVTX)
    return bool(mode & (stat.S_IWGRP | stat.S_IWOTH)) and not sticky


def _readers(ctx: VirtualContext) -> Iterator[Fact]:
    yield Fact("policy readers", "note", f"policies may be read by: {', '.join(sorted(ctx.layer.policy_readers))}")


_FACTS: Final[tuple[Callable[[VirtualContext], Iterator[Fact]], ...]] = (
    _implicit_principal, _access, _store, _audit, _keys, _labels, _barrier, _readers,
)  # fmt: skip
"""Everything that is looked at."""
