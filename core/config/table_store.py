"""Stores and what nodes tell each other through them. Columns as in table.py; facts from tyk-core section 1."""

TEXT = """
storage.type | str=,redis,embedded | embedded | restart | accepted | Where keys and counters live: "redis" or "embedded".
node_secret | str |  | restart | ignored | Signs notifications between nodes.
allow_insecure_configs | bool |  | swap | accepted | Accept unsigned notifications.
suppress_redis_signal_reload | bool |  | swap | accepted | Do not listen to notifications.
reload_interval | int |  | swap | accepted | Least seconds between reloads.
analytics_storage | {any} |  | swap | accepted | Store of its own for analytics.
cache_storage | {any} |  | swap | accepted | Store of its own for cached responses.
rate_limiter_storage | {any} |  | swap | accepted | Store of its own for rate limits.
enable_rate_limiter_storage | bool |  | swap | accepted | Use rate_limiter_storage.
enable_separate_analytics_store | bool |  | swap | accepted | Use analytics_storage.
enable_separate_cache_store | bool |  | swap | accepted | Use cache_storage.
drl_notification_frequency | int |  | swap | accepted | Seconds between load reports of nodes.
drl_threshold | num |  | swap | accepted | Rates below this use the store.
drl_enable_sentinel_rate_limiter | bool |  | swap | accepted | Use the sentinel limiter for those.
liveness_check.check_duration | int |  | swap | accepted | Nanoseconds between probes of the store.
storage.host | str |  | swap | accepted | Host of Redis.
storage.port | port |  | swap | accepted | Port of Redis.
storage.hosts | {str} |  | swap | accepted | Old form of addrs.
storage.addrs | [str] |  | swap | accepted | Addresses of Redis, host:port.
storage.master_name | str |  | swap | accepted | Name of the master that sentinels watch.
storage.sentinel_password | str |  | swap | accepted | Password of the sentinels.
storage.username | str |  | swap | accepted | User name in Redis.
storage.password | str |  | swap | accepted | Password in Redis.
storage.database | int |  | swap | accepted | Number of the database.
storage.optimisation_max_idle | int |  | swap | accepted | Idle connections to Redis.
storage.optimisation_max_active | int |  | swap | accepted | Connections to Redis.
storage.timeout | int |  | swap | accepted | Seconds to wait for Redis.
storage.enable_cluster | bool |  | swap | accepted | Redis is a cluster.
storage.use_ssl | bool |  | swap | accepted | Speak TLS to Redis.
storage.ssl_insecure_skip_verify | bool |  | swap | accepted | Do not verify the certificate of Redis.
storage.ca_file | str |  | swap | accepted | Authority that signed it.
storage.cert_file | str |  | swap | accepted | Client certificate for Redis.
storage.key_file | str |  | swap | accepted | Its key.
storage.tls_min_version | str |  | swap | accepted | Lowest TLS version towards Redis.
storage.tls_max_version | str |  | swap | accepted | Highest TLS version towards Redis.
storage.iam_auth | {any} |  | swap | accepted | Cloud identities for Redis.
storage.compress_api_definitions | bool |  | swap | accepted | Compress definitions in Redis.
storage.compress_policies | bool |  | swap | accepted | Compress policies in Redis.
storage.max_decompressed_size | int |  | swap | accepted | Bytes of a decompressed value.
preforge.storage.command_timeout | num | 1 | restart | used | Seconds that a request waits for one answer of the store; then the store counts as away.
preforge.storage.max_waiting | int | 10000 | restart | used | Commands of one worker that wait for the store; one more counts as the store being away.
"""
