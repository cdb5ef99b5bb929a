"""The engagement audit: flags, judges, experts, and what it comes to."""

from mr_st.annotation.audit.flags import FlagSettings, flag_disagreements
from mr_st.annotation.audit.page import audit_summary, write_audit_report
from mr_st.annotation.audit.procedure import Audit, AuditResult, AuditState

__all__ = [
    "Audit",
    "AuditResult",
    "AuditState",
    "FlagSettings",
    "audit_summary",
    "flag_disagreements",
    "write_audit_report",
]
