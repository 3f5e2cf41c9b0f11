"""The security room: who may see what of a table, decided in one place and recorded.

Importing it loads neither DuckDB, Ibis nor pandas; they come in with the first policy that needs them.

>>> enforcer = SecurityEnforcer(default_access="deny")
>>> enforcer.decide("customers", {"id": "BIGINT"}, "ana").allowed
False
"""

from __future__ import annotations

from tauro_nb.security.audit import AuditLog, AuditTrail
from tauro_nb.security.bulk import FewValues, encrypt_column
from tauro_nb.security.decision import ColumnDecision, TableDecision
from tauro_nb.security.enforcer import SecurityEnforcer
from tauro_nb.security.masks import MASKS, ConstantMasker, EmailMasker, Masker, NullMasker, PhoneMasker, SSNMasker
from tauro_nb.security.policy import AccessLevel, FieldSecurityPolicy, Operation, TableSecurityPolicy, TagPolicy
from tauro_nb.security.principal import Principal

__all__ = [
    "MASKS",
    "AccessLevel",
    "AuditLog",
    "AuditTrail",
    "ColumnDecision",
    "ConstantMasker",
    "EmailMasker",
    "FewValues",
    "FieldSecurityPolicy",
    "Masker",
    "NullMasker",
    "Operation",
    "PhoneMasker",
    "Principal",
    "SSNMasker",
    "SecurityEnforcer",
    "TableDecision",
    "TableSecurityPolicy",
    "TagPolicy",
    "encrypt_column",
]
