"""The table of the metric families that come from global words of the shared counters."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """One family without labels: its name, the word it is read from, and what it counts."""

    name: str
    word: str
    help: str

    @property
    def kind(self) -> str:
        """Its type in the exposition format."""
        return "counter" if self.name.endswith("_total") else "gauge"


_TABLE = """
connections | G_CONNECTIONS | Open client connections.
active_requests | G_ACTIVE_REQUESTS | Requests that are being answered.
upstream_connections | G_UPSTREAM_CONNECTIONS | Open upstream connections.
upstream_connections_idle | G_UPSTREAM_IDLE | Upstream connections in the pool.
upstream_waiters | G_UPSTREAM_WAITERS | Requests that wait for a connection.
connections_total | G_CONNECTIONS_TOTAL | Client connections accepted.
http_requests_total | G_REQUESTS_TOTAL | Requests of all kinds.
received_bytes_total | G_BYTES_IN | Bytes received from clients.
sent_bytes_total | G_BYTES_OUT | Bytes sent to clients.
upstream_connects_total | G_UPSTREAM_CONNECTS | Upstream connections opened.
upstream_connect_errors_total | G_UPSTREAM_CONNECT_ERRORS | Upstream connections that could not be opened.
upstream_reused_total | G_UPSTREAM_REUSED | Requests sent on an upstream connection from the pool.
upstream_retries_total | G_UPSTREAM_RETRIES | Requests sent again because a pooled connection was closed.
upstream_timeouts_total | G_UPSTREAM_TIMEOUTS | Upstreams that were too slow.
upstream_resets_total | G_UPSTREAM_RESETS | Upstream connections lost during an exchange.
client_aborts_total | G_CLIENT_ABORTS | Clients that left before the end.
not_found_total | G_NOT_FOUND | Requests for a path of no API.
redirects_total | G_REDIRECTS | Requests redirected by the router.
reloads_total | G_RELOADS | Reloads, counted by each worker.
reload_failures_total | G_RELOAD_FAILURES | Failed reloads, counted by each worker.
access_log_dropped_total | G_LOG_DROPPED | Access log lines dropped.
tunnels_total | G_TUNNELS | Upgraded connections, for example WebSocket.
store_connected | G_STORE_CONNECTED | Workers that are connected to the store.
store_waiting | G_STORE_WAITING | Commands that wait for an answer of the store.
keys_cached | G_KEYS_CACHED | Sessions in the caches of the workers.
store_commands_total | G_STORE_COMMANDS | Commands sent to the store.
store_errors_total | G_STORE_ERRORS | Commands that the store answered with an error.
store_timeouts_total | G_STORE_TIMEOUTS | Commands that the store did not answer in time.
store_refused_total | G_STORE_REFUSED | Commands not sent: the store was away, or too many waited.
store_reconnects_total | G_STORE_RECONNECTS | Connections to the store that were lost.
keys_loaded_total | G_KEYS_LOADED | Sessions looked up in the store.
keys_unknown_total | G_KEYS_UNKNOWN | Requests with a key that opens nothing.
keys_stale_total | G_KEYS_STALE | Requests served by a cached session while the store was away.
keys_extracted_total | G_KEYS_EXTRACTED | Requests whose session an ID extractor found without their plugin.
keys_evicted_total | G_KEYS_EVICTED | Sessions that left a full cache.
quota_asked_total | G_QUOTA_ASKED | Requests whose quota the store was asked for.
quota_reported_total | G_QUOTA_REPORTED | Requests whose quota was counted on the node and reported.
quota_alone_total | G_QUOTA_ALONE | Requests whose quota was counted on the node because the store was away.
rate_asked_total | G_RATE_ASKED | Requests whose rate limit the store was asked for.
rate_waited_total | G_RATE_WAITED | Requests that waited for their rate limit (throttling).
notifications_refused_total | G_NOTIFICATIONS_REFUSED | Notifications with a wrong signature.
analytics_records_total | G_RECORDS | Analytics records written to the store.
analytics_retries_total | G_RECORD_RETRIES | Batches of analytics records that the store did not take; they are written again.
events_total | G_EVENTS_FIRED | Events that a handler was told of.
hooks_sent_total | G_HOOKS_SENT | Web hooks that were answered with success.
hooks_failed_total | G_HOOKS_FAILED | Web hooks that could not be delivered.
hooks_suppressed_total | G_HOOKS_SUPPRESSED | Web hooks that were left out because the same one was sent within event_timeout.
path_results_cleared_total | G_PATH_RESULTS_CLEARED | Times that a worker forgot answers of the path lists: there were too many.
breaker_trips_total | G_BREAKER_TRIPS | Times that a circuit breaker opened.
breaker_refused_total | G_BREAKER_REFUSED | Requests answered with 503 because a circuit breaker was open.
named_hosts_dropped_total | G_NAMED_HOSTS_DROPPED | Times that connections to a host that rewrites named made room for others.
cache_hits_total | G_CACHE_HITS | Requests answered from the response cache.
cache_misses_total | G_CACHE_MISSES | Requests whose answer was not in the response cache.
cache_stored_total | G_CACHE_STORED | Answers put into the response cache.
cache_failed_total | G_CACHE_FAILED | Answers that the store did not give or take, or that were broken.
script_contexts | G_SCRIPT_CONTEXTS | V8 contexts that exist.
scripts_waiting | G_SCRIPTS_WAITING | Calls of scripts that wait for a context.
script_calls_total | G_SCRIPT_CALLS | Calls of scripts.
scripts_failed_total | G_SCRIPTS_FAILED | Calls whose script failed.
scripts_ended_total | G_SCRIPTS_ENDED | Calls that were ended because of the time or the memory they took.
contexts_replaced_total | G_CONTEXTS_REPLACED | V8 contexts that were given up.
host_calls_total | G_HOST_CALLS | Calls of scripts to functions of the gateway.
script_requests_total | G_SCRIPT_REQUESTS | HTTP requests of scripts.
plugin_calls_running | G_PLUGINS_RUNNING | Calls of plugins that are under way.
plugin_calls_waiting | G_PLUGINS_WAITING | Calls of plugins that wait for their turn.
plugin_calls_total | G_PLUGIN_CALLS | Calls of plugins.
plugins_failed_total | G_PLUGINS_FAILED | Calls that a plugin answered with an error.
plugins_away_total | G_PLUGINS_AWAY | Calls that no plugin could be reached for.
plugin_timeouts_total | G_PLUGIN_TIMEOUTS | Calls that no answer came to in time.
plugins_cancelled_total | G_PLUGINS_CANCELLED | Calls whose client went away.
plugin_restarts_total | G_PLUGIN_RESTARTS | Connections or processes of plugins that ended.
plugin_events_total | G_PLUGIN_EVENTS | Events sent to plugins.
plugin_events_failed_total | G_PLUGIN_EVENTS_FAILED | Events that a plugin did not take.
"""

FAMILIES = tuple(Family(*f"preforge_{line}".split(" | ")) for line in _TABLE.strip().splitlines())
