"""Which fields an access log line has: ``access_logs.template`` of the configuration."""

from __future__ import annotations

from collections.abc import Sequence

from accel.accesslog import FIELDS
from core.findings import Finding

# Fields that Tyk can log and that this gateway does not have (tyk-core 1.3), next to those of mcp_*.
NOT_AVAILABLE = frozenset(
    (
        "api_key",
        "response_code_details",
        "error_source",
        "error_target",
        "tls_cert_expiry",
        "tls_cert_subject",
        "circuit_breaker_state",
    )
)


def select_fields(template: Sequence[str], file: str) -> tuple[tuple[str, ...], list[Finding]]:
    """Return the fields of a line, in the order of the lines, and a warning per name that has no field.

    An empty template means all fields, and so does one in which no name can be used.
    """
    findings = []
    for index, name in enumerate(template):
        if name not in FIELDS:
            known = name in NOT_AVAILABLE or name.startswith("mcp_")
            what = "is not available in this gateway" if known else "is unknown"
            message = f"the field {name!r} {what}, expected some of {', '.join(FIELDS)}"
            findings.append(Finding("warning", file, f"$.access_logs.template[{index}]", message))
    return tuple(name for name in FIELDS if name in template), findings
