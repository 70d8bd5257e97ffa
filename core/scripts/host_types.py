"""Who calls a host function, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass

from core.apidef.specs import TransportSpec


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a script runs. name: of the API; tls: of its upstreams, None where there is none (events);
    deadline: time of the loop until which the script may wait."""

    api_id: str
    org_id: str
    name: str
    tls: TransportSpec | None
    deadline: float


class HostError(Exception):
    """The function throws in the script; the text is the message of the error."""


class HostFailure(Exception):
    """The function fails without throwing: the text is logged and the script gets undefined."""
