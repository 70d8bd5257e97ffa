"""Numbers about one API (tyk-core 4.11, 8.2)."""

from __future__ import annotations

from core.admin.context import AdminContext
from core.admin.replies import Refused, Reply, Request, plain

OFF = "Health checks are not enabled for this node"
FIELDS = (
    "throttle_reqests_per_second",      # as Tyk spells it
    "quota_violations_per_second",
    "key_failures_per_second",
    "average_upstream_latency",
    "average_requests_per_second",
)


async def get(context: AdminContext, request: Request) -> Reply:
    if not context.config.health_check.enable_health_checks:
        raise Refused(400, OFF)
    api_id = request.query.get("api_id", "")
    if not api_id:
        raise Refused(400, "missing api_id parameter")
    if context.apis.get(api_id) is None:
        raise Refused(404, "API ID not found")
    numbers = context.health(api_id)
    if numbers is None:
        raise Refused(400, OFF)
    found = await numbers
    return Reply(200, plain({name: float(found.get(name, 0.0)) for name in FIELDS}))
