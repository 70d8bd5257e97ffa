"""Options of Tyk that are read without effect in this version (accepted), or for ever (ignored).

Columns as in table.py.
"""

TEXT = """
db_app_conf_options.connection_string | str |  | restart | ignored | Address of the Dashboard.
db_app_conf_options.connection_timeout | int |  | restart | ignored | Seconds to connect to the Dashboard.
db_app_conf_options.node_is_segmented | bool |  | restart | ignored | Load only APIs with the tags of this node from the Dashboard.
db_app_conf_options.tags | [str] |  | swap | used | Tags of this node: of all its analytics records. Definitions are loaded whatever their tags.
use_db_app_configs | bool |  | restart | ignored | Load definitions from the Dashboard instead of app_path.
disable_dashboard_zeroconf | bool |  | restart | ignored | Do not look for a Dashboard by itself.
management_node | bool |  | swap | used | Do not count as a node that shares rate limits.
slave_options | {any} |  | restart | ignored | Settings of the commercial control plane.
cloud | bool |  | restart | ignored | Marks a hosted gateway.
labs | {any} |  | restart | ignored | Switches of experimental features.
streaming | {any} |  | restart | ignored | Settings of the commercial streaming component.
newrelic | {any} |  | restart | ignored | Settings of New Relic.
auth_override | {any} |  | restart | ignored | Other providers of keys and sessions.
disable_regexp_cache | bool |  | restart | ignored | Regular expressions are compiled once, at load.
regexp_cache_expire | int |  | restart | ignored | Regular expressions are compiled once, at load.
regexp_cache_max_entries | int |  | restart | ignored | Regular expressions are compiled once, at load.
disable_regexp_cache_bound | bool |  | restart | ignored | Regular expressions are compiled once, at load.
disable_auto_max_procs | bool |  | restart | ignored | Concerns the Go runtime.
enable_http_profiler | bool |  | restart | ignored | Concerns the Go runtime.
event_triggers_defunct | any |  | restart | ignored | Old form of event handlers.
legacy_enable_allowance_countdown | bool |  | restart | ignored | Old form of rate limits.
close_idle_connections | any |  | restart | ignored | Old option without effect.
enable_api_segregation | any |  | restart | ignored | Old option without effect.
optimisations_use_async_session_write | any |  | restart | ignored | Old option without effect.
session_update_pool_size | any |  | restart | ignored | Old option without effect.
session_update_buffer_size | any |  | restart | ignored | Old option without effect.
reload_wait_time | any |  | restart | ignored | Old name of reload_interval.
use_ssl_le | any |  | restart | ignored | Old option without effect.
http_server_options.override_defaults | any |  | restart | ignored | Old option without effect.
public_key_path | str |  | swap | used | PEM file with the RSA public key by which every plugin bundle must be signed; empty asks for no signature. Notifications between nodes are signed with node_secret instead.
allow_remote_config | bool |  | swap | accepted | Let the configuration come from outside.
enable_config_inspection | bool |  | swap | accepted | Serve /config and /env to holders of the secret.
security | {any} |  | swap | accepted | Certificates of listeners and upstreams, pinned keys, expiry monitor.
external_services | {any} |  | swap | accepted | Proxies and client certificates for outgoing calls of the gateway itself.
dns_cache.enabled | bool |  | swap | accepted | Cache look-ups of upstream names.
dns_cache.ttl | int |  | swap | accepted | Seconds that a look-up is kept.
dns_cache.multiple_ips_handle_strategy | str |  | swap | accepted | Which of several addresses is used.
enable_leaky_bucket_rate_limiter | bool |  | swap | accepted | Use a leaky bucket.
enable_token_bucket_rate_limiter | bool |  | swap | accepted | Use a token bucket.
enable_sliding_window_rate_limiter | bool |  | swap | accepted | Use a sliding window.
oauth_token_expire | int |  | swap | accepted | Seconds until an access token expires.
oauth_refresh_token_expire | int |  | swap | accepted | Seconds until a refresh token expires.
oauth_token_expired_retain_period | int |  | swap | accepted | Seconds that expired tokens are listed.
oauth_redirect_uri_separator | str |  | swap | accepted | Separates several redirect addresses of a client.
oauth_error_status_code | int |  | swap | accepted | Status of OAuth errors.
jwks.cache.timeout | int |  | swap | accepted | Seconds that key sets are cached.
jwt_ssl_insecure_skip_verify | bool |  | swap | accepted | Do not verify certificates when key sets are fetched.
uptime_tests | {any} |  | swap | accepted | Tests of upstreams.
ports_whitelist | {any} |  | swap | accepted | Ports that APIs may listen on by themselves.
disable_ports_whitelist | bool |  | swap | accepted | Let APIs listen on any port.
service_discovery.default_cache_timeout | int |  | swap | accepted | Seconds that discovered targets are cached.
resource_sync | {any} |  | swap | accepted | Repeated loading when definitions cannot be read.
coprocess_options.enable_coprocess | bool |  | swap | used | Run plugins (gRPC, JSON-RPC, Python). Without it their hooks are passed over, except response hooks, which answer 500, and an auth_check leaves its place to auth tokens.
coprocess_options.coprocess_grpc_server | str |  | swap | used | Target of the gRPC plugin server: tcp://host:port, unix:///path, dns:///name:port or host:port. More servers: preforge.plugins.servers.
coprocess_options.grpc_recv_max_size | int |  | swap | used | Bytes of a message from the plugin server, 0 for 4 MiB.
coprocess_options.grpc_send_max_size | int |  | swap | used | Bytes of a message to the plugin server, 0 for 2 GiB.
coprocess_options.grpc_authority | str |  | swap | used | Authority (:authority) sent to the plugin server instead of its host and port.
coprocess_options.grpc_round_robin_load_balancing | bool |  | swap | used | Spread calls over all addresses of the plugin server's name.
coprocess_options.python_path_prefix | str |  | swap | ignored | Directory with the modules that plugins of Tyk import; they are part of Preforge.
coprocess_options.python_version | str |  | swap | used | Version of the Python that runs plugins of bundles, such as 3.11: python3.11 on the PATH. Empty is the one that runs the gateway.
enable_bundle_downloader | bool |  | swap | used | Fetch plugin bundles that are not below middleware_path yet; without it such a bundle makes its API refuse every request.
bundle_base_url | str |  | swap | used | Where plugin bundles are fetched from: an http or https address, file:///directory, or a path. Without it no bundle is loaded, and its API refuses every request.
bundle_insecure_skip_verify | bool |  | swap | used | Do not verify the certificate of an https bundle_base_url.
skip_verify_existing_plugin_bundle | bool |  | swap | used | Do not verify bundles that are below middleware_path already; without it checksum and signature are verified at every load.
use_redis_log | bool |  | swap | accepted | Send logs to the store.
use_sentry | bool |  | swap | accepted | Send logs to Sentry.
sentry_code | str |  | swap | accepted | Address of the Sentry project.
sentry_log_level | str |  | swap | accepted | Least severe messages for Sentry.
use_syslog | bool |  | swap | accepted | Send logs to syslog.
syslog_transport | str |  | swap | accepted | How syslog is reached.
syslog_network_addr | str |  | swap | accepted | Address of syslog.
use_graylog | bool |  | swap | accepted | Send logs to Graylog.
graylog_network_addr | str |  | swap | accepted | Address of Graylog.
use_logstash | bool |  | swap | accepted | Send logs to Logstash.
logstash_transport | str |  | swap | accepted | How Logstash is reached.
logstash_network_addr | str |  | swap | accepted | Address of Logstash.
statsd_connection_string | str |  | swap | accepted | Address of StatsD.
statsd_prefix | str |  | swap | accepted | Prefix of names in StatsD.
tracing | {any} |  | swap | accepted | Settings of OpenTracing.
opentelemetry | {any} |  | swap | accepted | Settings of OpenTelemetry.
error_overrides | {any} |  | swap | accepted | Other answers for statuses.
kv.consul | {any} |  | swap | accepted | Settings of Consul.
kv.vault | {any} |  | swap | accepted | Settings of Vault.
kv.stores | {any} |  | swap | accepted | Further stores of secrets.
oas_config | {any} |  | swap | accepted | Checks of OpenAPI documents.
"""
