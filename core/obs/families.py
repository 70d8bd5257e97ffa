"""The table of the metric families that come from global words of the shared counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Family:
    """One family without labels: its name, its kind, what it counts and the word it is read from."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    word: str


FAMILIES = (
    Family("preforge_connections", "gauge", "Open client connections.", "G_CONNECTIONS"),
    Family("preforge_active_requests", "gauge", "Requests that are being answered.", "G_ACTIVE_REQUESTS"),
    Family("preforge_upstream_connections", "gauge", "Open upstream connections.", "G_UPSTREAM_CONNECTIONS"),
    Family(
        "preforge_upstream_connections_idle", "gauge", "Upstream connections in the pool.", "G_UPSTREAM_IDLE"
    ),
    Family(
        "preforge_upstream_waiters", "gauge", "Requests that wait for a connection.", "G_UPSTREAM_WAITERS"
    ),
    Family("preforge_connections_total", "counter", "Client connections accepted.", "G_CONNECTIONS_TOTAL"),
    Family("preforge_http_requests_total", "counter", "Requests of all kinds.", "G_REQUESTS_TOTAL"),
    Family("preforge_received_bytes_total", "counter", "Bytes received from clients.", "G_BYTES_IN"),
    Family("preforge_sent_bytes_total", "counter", "Bytes sent to clients.", "G_BYTES_OUT"),
    Family(
        "preforge_upstream_connects_total", "counter", "Upstream connections opened.", "G_UPSTREAM_CONNECTS"
    ),
    Family(
        "preforge_upstream_connect_errors_total",
        "counter",
        "Upstream connections that could not be opened.",
        "G_UPSTREAM_CONNECT_ERRORS",
    ),
    Family(
        "preforge_upstream_reused_total",
        "counter",
        "Requests sent on an upstream connection from the pool.",
        "G_UPSTREAM_REUSED",
    ),
    Family(
        "preforge_upstream_retries_total",
        "counter",
        "Requests sent again because a pooled connection was closed.",
        "G_UPSTREAM_RETRIES",
    ),
    Family(
        "preforge_upstream_timeouts_total", "counter", "Upstreams that were too slow.", "G_UPSTREAM_TIMEOUTS"
    ),
    Family(
        "preforge_upstream_resets_total",
        "counter",
        "Upstream connections lost during an exchange.",
        "G_UPSTREAM_RESETS",
    ),
    Family("preforge_client_aborts_total", "counter", "Clients that left before the end.", "G_CLIENT_ABORTS"),
    Family("preforge_not_found_total", "counter", "Requests for a path of no API.", "G_NOT_FOUND"),
    Family("preforge_redirects_total", "counter", "Requests redirected by the router.", "G_REDIRECTS"),
    Family("preforge_reloads_total", "counter", "Reloads, counted by each worker.", "G_RELOADS"),
    Family(
        "preforge_reload_failures_total",
        "counter",
        "Failed reloads, counted by each worker.",
        "G_RELOAD_FAILURES",
    ),
    Family("preforge_access_log_dropped_total", "counter", "Access log lines dropped.", "G_LOG_DROPPED"),
    Family("preforge_tunnels_total", "counter", "Upgraded connections, for example WebSocket.", "G_TUNNELS"),
    Family("preforge_store_connected", "gauge", "Workers that are connected to the store.", "G_STORE_CONNECTED"),
    Family("preforge_store_waiting", "gauge", "Commands that wait for an answer of the store.", "G_STORE_WAITING"),
    Family("preforge_keys_cached", "gauge", "Sessions in the caches of the workers.", "G_KEYS_CACHED"),
    Family("preforge_store_commands_total", "counter", "Commands sent to the store.", "G_STORE_COMMANDS"),
    Family("preforge_store_errors_total", "counter", "Commands that the store answered with an error.", "G_STORE_ERRORS"),
    Family("preforge_store_timeouts_total", "counter", "Commands that the store did not answer in time.", "G_STORE_TIMEOUTS"),
    Family(
        "preforge_store_refused_total",
        "counter",
        "Commands not sent: the store was away, or too many waited.",
        "G_STORE_REFUSED",
    ),
    Family("preforge_store_reconnects_total", "counter", "Connections to the store that were lost.", "G_STORE_RECONNECTS"),
    Family("preforge_keys_loaded_total", "counter", "Sessions looked up in the store.", "G_KEYS_LOADED"),
    Family("preforge_keys_unknown_total", "counter", "Requests with a key that opens nothing.", "G_KEYS_UNKNOWN"),
    Family(
        "preforge_keys_stale_total",
        "counter",
        "Requests served by a cached session while the store was away.",
        "G_KEYS_STALE",
    ),
    Family(
        "preforge_keys_extracted_total",
        "counter",
        "Requests whose session an ID extractor found without their plugin.",
        "G_KEYS_EXTRACTED",
    ),
    Family("preforge_keys_evicted_total", "counter", "Sessions that left a full cache.", "G_KEYS_EVICTED"),
    Family("preforge_quota_asked_total", "counter", "Requests whose quota the store was asked for.", "G_QUOTA_ASKED"),
    Family(
        "preforge_quota_reported_total",
        "counter",
        "Requests whose quota was counted on the node and reported.",
        "G_QUOTA_REPORTED",
    ),
    Family(
        "preforge_quota_alone_total",
        "counter",
        "Requests whose quota was counted on the node because the store was away.",
        "G_QUOTA_ALONE",
    ),
    Family("preforge_rate_asked_total", "counter", "Requests whose rate limit the store was asked for.", "G_RATE_ASKED"),
    Family("preforge_rate_waited_total", "counter", "Requests that waited for their rate limit (throttling).", "G_RATE_WAITED"),
    Family(
        "preforge_notifications_refused_total",
        "counter",
        "Notifications with a wrong signature.",
        "G_NOTIFICATIONS_REFUSED",
    ),
    Family("preforge_analytics_records_total", "counter", "Analytics records written to the store.", "G_RECORDS"),
    Family(
        "preforge_analytics_retries_total",
        "counter",
        "Batches of analytics records that the store did not take; they are written again.",
        "G_RECORD_RETRIES",
    ),
    Family("preforge_events_total", "counter", "Events that a handler was told of.", "G_EVENTS_FIRED"),
    Family("preforge_hooks_sent_total", "counter", "Web hooks that were answered with success.", "G_HOOKS_SENT"),
    Family("preforge_hooks_failed_total", "counter", "Web hooks that could not be delivered.", "G_HOOKS_FAILED"),
    Family(
        "preforge_hooks_suppressed_total",
        "counter",
        "Web hooks that were left out because the same one was sent within event_timeout.",
        "G_HOOKS_SUPPRESSED",
    ),
    Family(
        "preforge_path_results_cleared_total",
        "counter",
        "Times that a worker remembered too many answers of the path lists and forgot them.",
        "G_PATH_RESULTS_CLEARED",
    ),
    Family("preforge_breaker_trips_total", "counter", "Times that a circuit breaker opened.", "G_BREAKER_TRIPS"),
    Family(
        "preforge_breaker_refused_total",
        "counter",
        "Requests answered with 503 because a circuit breaker was open.",
        "G_BREAKER_REFUSED",
    ),
    Family(
        "preforge_named_hosts_dropped_total",
        "counter",
        "Times that the connections to a host that rewrites named were given up for those to another one.",
        "G_NAMED_HOSTS_DROPPED",
    ),
    Family("preforge_cache_hits_total", "counter", "Requests answered from the response cache.", "G_CACHE_HITS"),
    Family("preforge_cache_misses_total", "counter", "Requests whose answer was not in the response cache.", "G_CACHE_MISSES"),
    Family("preforge_cache_stored_total", "counter", "Answers put into the response cache.", "G_CACHE_STORED"),
    Family(
        "preforge_cache_failed_total",
        "counter",
        "Answers that the store did not give or take, or that were broken.",
        "G_CACHE_FAILED",
    ),
    Family("preforge_script_contexts", "gauge", "V8 contexts that exist.", "G_SCRIPT_CONTEXTS"),
    Family("preforge_scripts_waiting", "gauge", "Calls of scripts that wait for a context.", "G_SCRIPTS_WAITING"),
    Family("preforge_script_calls_total", "counter", "Calls of scripts.", "G_SCRIPT_CALLS"),
    Family("preforge_scripts_failed_total", "counter", "Calls whose script failed.", "G_SCRIPTS_FAILED"),
    Family(
        "preforge_scripts_ended_total",
        "counter",
        "Calls that were ended because of the time or the memory they took.",
        "G_SCRIPTS_ENDED",
    ),
    Family("preforge_contexts_replaced_total", "counter", "V8 contexts that were given up.", "G_CONTEXTS_REPLACED"),
    Family("preforge_host_calls_total", "counter", "Calls of scripts to functions of the gateway.", "G_HOST_CALLS"),
    Family("preforge_script_requests_total", "counter", "HTTP requests of scripts.", "G_SCRIPT_REQUESTS"),
    Family("preforge_plugin_calls_running", "gauge", "Calls of plugins that are under way.", "G_PLUGINS_RUNNING"),
    Family("preforge_plugin_calls_waiting", "gauge", "Calls of plugins that wait for their turn.", "G_PLUGINS_WAITING"),
    Family("preforge_plugin_calls_total", "counter", "Calls of plugins.", "G_PLUGIN_CALLS"),
    Family("preforge_plugins_failed_total", "counter", "Calls that a plugin answered with an error.", "G_PLUGINS_FAILED"),
    Family("preforge_plugins_away_total", "counter", "Calls that no plugin could be reached for.", "G_PLUGINS_AWAY"),
    Family("preforge_plugin_timeouts_total", "counter", "Calls that no answer came to in time.", "G_PLUGIN_TIMEOUTS"),
    Family("preforge_plugins_cancelled_total", "counter", "Calls whose client went away.", "G_PLUGINS_CANCELLED"),
    Family("preforge_plugin_restarts_total", "counter", "Connections or processes of plugins that ended.", "G_PLUGIN_RESTARTS"),
    Family("preforge_plugin_events_total", "counter", "Events sent to plugins.", "G_PLUGIN_EVENTS"),
    Family("preforge_plugin_events_failed_total", "counter", "Events that a plugin did not take.", "G_PLUGIN_EVENTS_FAILED"),
)
