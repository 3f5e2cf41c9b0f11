"""What is promised in which mode, as one table: `posture()` and `docs/security/claims.md` are both written from it.

`python -m tauro_nb.security.claims > docs/security/claims.md` writes the page.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["CLAIMS", "MODES", "Claim", "claims_page"]

Mode = Literal["embedded", "delegated", "gateway"]

MODES: Final[Mapping[Mode, str]] = {
    "embedded": "policies are applied in the process of the one who asks, who has the sources' credentials",
    "delegated": "the source applies rules of its own to an account of the asker's own; set up there, not here",
    "gateway": "another process, under another account, holds credentials, keys and policies; not built yet",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing people expect, and what is true of it in each mode; an answer begins with `yes`, `no` or `partly`."""

    expected: str
    embedded: str
    delegated: str
    gateway: str = "not built"

    @property
    def holds(self) -> bool:
        """Whether it is true in embedded mode without an `if`."""
        return self.embedded.startswith("yes")


_THEIRS: Final = "as far as the source does it"

CLAIMS: Final[tuple[Claim, ...]] = (
    Claim(
        "Whatever is asked through this package is filtered and masked as it is read", "yes", f"yes, besides; {_THEIRS}"
    ),
    Claim(
        "Somebody who wants the raw data does not get it",
        "no: who runs the notebook has the credentials and the process",
        f"yes, {_THEIRS}",
    ),
    Claim(
        "Hidden values do not get into notebook outputs and exports by accident",
        "yes, when whoever asks is named and the table has a policy",
        f"yes, {_THEIRS}",
    ),
    Claim(
        "Error messages and plans show no hidden value",
        "yes, for what the tests tried on each kind of source and version",
        "by the source's own promise",
    ),
    Claim("Nothing can be guessed from how long a query takes, or from many aggregates", "no", "no"),
    Claim("Credentials and keys stay away from the one who asks", "no: they are in the same process", "not applicable"),
    Claim(
        "Every access is in the audit trail",
        "no: every access through this package, and none around it",
        "in that of the source, if it has one",
    ),
    Claim(
        "The one who asks cannot change the audit trail unnoticed",
        "no: damage shows, but the key is at hand to forge it; checkpoints kept elsewhere show what came later",
        _THEIRS,
    ),
    Claim(
        "The one who asks cannot change the policies, or be somebody else",
        "no: a name is taken as it is given, and files can be written by who may write them",
        f"yes, {_THEIRS}",
    ),
    Claim(
        "Tenants are apart",
        "partly: rows, keys and audit records; not processes or memory",
        _THEIRS,
    ),
    Claim(
        "A right that was taken away is gone at once",
        "yes: with the next request; a running query stops between two batches",
        _THEIRS,
    ),
    Claim(
        "Regulations are met",
        "no: some controls are mapped to them, as guard rails",
        "no: some controls are mapped to them, enforced by the source",
    ),
)
"""Everything that is claimed, and everything that is not."""

_PAGE: Final = """\
# What is protected, and what is not

Written by `python -m tauro_nb.security.claims` from the same table that `posture()` shows.

{modes}

| | embedded | delegated | gateway |
|---|---|---|---|
{rows}

Embedded mode is what this package is today. It is guard rails for people who mean well: to keep data
from somebody who does not, give that person an account on the source that sees no more than the policies allow.
"""


def claims_page() -> str:
    """The page of the documentation.

    >>> "| Regulations are met | no" in claims_page()
    True
    """
    modes = "\n".join(f"- **{mode}**: {words}." for mode, words in MODES.items())
    rows = "\n".join(f"| {c.expected} | {c.embedded} | {c.delegated} | {c.gateway} |" for c in CLAIMS)
    return _PAGE.format(modes=modes, rows=rows)


if __name__ == "__main__":
    sys.stdout.write(claims_page())
