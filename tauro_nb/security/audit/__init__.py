"""The audit trail: who asked for what, which rules applied, what came of it; chained, signed, and first written.

>>> trail = AuditTrail()
>>> trail.denied("ana", "payroll", "the table is closed to her").status
'DENIED'
"""

from __future__ import annotations

from tauro_nb.security.audit.codec import Asked, Asker
from tauro_nb.security.audit.keys import AuditKeys
from tauro_nb.security.audit.log import CANCELLED, DENIED, FAILED, POLICY_ONLY, STARTED, STATUSES, SUCCESS, AuditLog
from tauro_nb.security.audit.settings import AuditSettings
from tauro_nb.security.audit.trail import AuditTrail
from tauro_nb.security.audit.verify import Verification, verify

__all__ = [
    "CANCELLED",
    "DENIED",
    "FAILED",
    "POLICY_ONLY",
    "STARTED",
    "STATUSES",
    "SUCCESS",
    "Asked",
    "Asker",
    "AuditKeys",
    "AuditLog",
    "AuditSettings",
    "AuditTrail",
    "Verification",
    "verify",
]
