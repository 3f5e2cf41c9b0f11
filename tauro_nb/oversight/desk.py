"""What those who answer for a catalog ask of it: who gets what and why, what others see, what is protected at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from tauro_nb.errors import AccessDenied, PolicyError, told
from tauro_nb.oversight.auditing import AuditDoor

if TYPE_CHECKING:
    from tauro_nb.context import VirtualContext
    from tauro_nb.oversight.access import AccessExplanation
    from tauro_nb.oversight.classification import Classification
    from tauro_nb.oversight.deployment import Posture
    from tauro_nb.oversight.policies import PolicyCheck
    from tauro_nb.oversight.simulation import Simulation
    from tauro_nb.security.principal import Principal

__all__ = ["Oversight"]


class Oversight(AuditDoor):
    """The part of a context that looks through other eyes."""

    _lender: VirtualContext | None

    if TYPE_CHECKING:

        def as_principal(self, name: str | Principal) -> VirtualContext:
            """The same catalog, seen by someone else."""

    @property
    def reads_policies(self) -> bool:
        """Whether this principal may read what policies say; everybody else sees a marker in their place.

        Whoever looks through somebody's eyes (`acting_as`) reads no more of them than with the own.
        """
        lent = self._lender is None or self._lender.reads_policies
        return lent and self.reads_policies_as(self.principal)

    def reads_policies_as(self, who: Principal) -> bool:
        """Whether somebody may read what policies say; nobody may while they cannot be used."""
        return who.matches(self.layer.policy_readers)

    def acting_as(self, who: str | Principal) -> VirtualContext:
        """The same catalog with somebody else's rights; records name this principal as the one who asked.

        Raises
        ------
        AccessDenied
            This principal may not read policies, and holds none of the roles in `security.simulators`.
        """
        self.require_simulator()
        seen = self.as_principal(who)
        seen._caller = self._caller or self.principal.name  # noqa: SLF001 - its own kind
        seen._lender = cast("VirtualContext", self)  # noqa: SLF001
        return seen

    def _as_told(self, error: BaseException) -> BaseException:
        """An error as this principal may read it: what is wrong in a policy is for those who may read it."""
        if not isinstance(error, PolicyError) or self.reads_policies:
            return told(error)
        policy = "a policy" if error.table is None else f"the policy of `{error.table}`"
        return PolicyError(
            f"{policy} does not go together with its table, or with what it reads.",
            hint="Those who may read policies find the mistake with `%vpolicies`.",
            table=error.table,
        )

    def require_simulator(self) -> None:
        """Refuse whoever may not see with other eyes; the refusal is recorded.

        Raises
        ------
        AccessDenied
            This principal may not read policies, and holds none of the roles in `security.simulators`.
        """
        if self.reads_policies or self.principal.matches(self.layer.config.security.simulators):
            return
        denied = AccessDenied(
            f"{self.principal.name!r} may not look through somebody else's eyes.",
            hint="It is for those who may read policies, and for the roles in `security.simulators`.",
        )
        self._record_refusal(denied)
        raise denied

    def explain_access(self, principal: str | Principal | None, table: str) -> AccessExplanation:
        """Which rule decides what somebody gets of a table, of each column and of the rows, and why. Reads no rows.

        Parameters
        ----------
        principal
            About whom; None for oneself.
        table
            A virtual table. Its source is asked for its columns where the catalog does not declare them.

        Raises
        ------
        AccessDenied
            About others only those may ask who may simulate. What policies say is shown to policy readers only.
        UnknownTable
            There is no such table.

        Examples
        --------
        >>> from tauro_nb import VirtualContext
        >>> policy = {"field_policies": {"a": {"mask": "null", "allowed_roles": ["boss"]}}}
        >>> one = {"query": "SELECT 1 AS a"}
        >>> ctx = VirtualContext({"virtual_tables": {"one": one}, "security_policies": {"one": policy}}, "ana")
        >>> print(ctx.explain_access(None, "one"))
        one: as ana (ana)
        Table: may be read; its policy names no `allowed_roles`, so everybody may.
        Rows: all; no row filter applies.
        <BLANKLINE>
        column  type     gets    why
        ------  -------  ------  ----------------------
        a       INTEGER  masked  masked except for boss
        """
        from tauro_nb.oversight.access import explain_access

        who = self.principal if principal is None else self.layer.security.principal(principal)
        if who.key != self.principal.key:
            self.require_simulator()
            self._note("policy.explain", about=who.name, table=table)
        try:
            return explain_access(cast("VirtualContext", self), who, table)
        except PolicyError as error:
            wrong = self._as_told(error)
        raise wrong

    def simulate(
        self, query: Any, principals: Iterable[str | Principal], params: Any = None, *, limit: int | None = None
    ) -> Simulation:
        """Run a query with the rights of several people, and show side by side what each would get.

        Every run takes the road, and its record names both: who asked, and whose rights were used.

        Parameters
        ----------
        query, params, limit
            As for `query`; all rows are kept in memory.
        principals
            Whose rights.

        Raises
        ------
        AccessDenied
            This principal may not simulate. That somebody is denied something is part of the answer.
        """
        from tauro_nb.oversight.simulation import simulate

        self.require_simulator()
        return simulate(cast("VirtualContext", self), query, principals, params, limit)

    def classify(self, table: str, *, sample: int = 1000) -> Classification:
        """Propose tags for the columns of a table, from their names and from values. Nothing is applied.

        Parameters
        ----------
        table
            A virtual table.
        sample
            How many rows to look at, the first ones; 0 judges by names only. They are read on the usual road, as this
            principal: masked, encrypted and denied values are not looked at.

        Raises
        ------
        AccessDenied
            The table is denied.

        Examples
        --------
        >>> from tauro_nb import VirtualContext
        >>> ctx = VirtualContext({"virtual_tables": {"one": {"query": "SELECT 'ana@example.com' AS a, 1 AS b"}}})
        >>> print(ctx.classify("one"))
        one: 1 proposal from 1 row, as admin
        Nothing is applied: keep what is right in `column_tags` of the table.
        <BLANKLINE>
        column  type     tags            proposed  because                       values
        ------  -------  --------------  --------  ----------------------------  ------
        a       VARCHAR  not classified  pii       e-mail address: 1 of 1 value       1
        b       INTEGER  not classified                                               1
        """
        from tauro_nb.oversight.classification import classify

        return classify(cast("VirtualContext", self), table, sample)

    def check_policies(self) -> PolicyCheck:
        """Whether every rule goes together with its table, whoever it is for. Asks sources for columns, reads no rows.

        A rule is checked when it is registered, as far as columns are known then; those of a catalog are known only
        once somebody asks. This asks for all of them.

        Raises
        ------
        AccessDenied
            This principal holds none of the roles in `security.policy_readers`; that is recorded.

        Examples
        --------
        >>> from tauro_nb import VirtualContext
        >>> policy = {"row_level_filters": {"analyst": "amuont > 3", "admin": ""}}
        >>> one = {"query": "SELECT 1 AS amount"}
        >>> ctx = VirtualContext({"virtual_tables": {"one": one}, "security_policies": {"one": policy}})
        >>> print(ctx.check_policies())
        Policies: 1 of 1 table has mistakes
        <BLANKLINE>
        table  is     because
        -----  -----  ------------------------------------------------------------------------------------------
        one    wrong  row filter of `analyst` on `one`: the table has no column `amuont`. Did you mean `amount`?
        """
        from tauro_nb.oversight.policies import check_policies

        if not self.reads_policies:
            denied = AccessDenied(
                f"{self.principal.name!r} may not check policies.", hint="It is for who may read them."
            )
            self._record_refusal(denied)
            raise denied
        self._note("policy.check")
        return check_policies(cast("VirtualContext", self))

    def posture(self) -> Posture:
        """What this deployment protects and what it does not; see `tauro_nb.oversight.deployment`."""
        from tauro_nb.oversight.deployment import posture

        return posture(cast("VirtualContext", self))
