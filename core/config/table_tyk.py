"""Options of Tyk that this version uses. Columns as in table.py; facts from tyk-core section 1."""

TEXT = """
hostname | str |  | swap | used | Serve the APIs only to requests with this Host.
listen_address | str |  | restart | used | Address to listen on; empty means all, IPv4 and IPv6.
listen_port | port | 0 | restart | used | Port to listen on; it has to be given.
control_api_hostname | str |  | restart | accepted | Host of the control API.
control_api_port | port | 0 | restart | used | Port of its own for /hello, /ready, /metrics and /tyk/, with TLS if listen_port has it; 0 means listen_port.
secret | str |  | swap | used | Key of the administration API, sent as X-Tyk-Authorization; empty turns that API off.
pid_file_location | str |  | restart | used | File that holds the master's process id; empty means none.
http_server_options.read_timeout | int | 0 | swap | used | Seconds for one whole request and its answer; 0 means preforge.timeouts.request.
http_server_options.write_timeout | int | 0 | swap | accepted | Progress of a client that reads slowly is judged by preforge.timeouts.send and min_rate instead.
http_server_options.use_ssl | bool | false | restart | used | Serve TLS on listen_port.
http_server_options.enable_http2 | bool | false | restart | accepted | HTTP/2 towards clients; clients are served HTTP/1.1.
http_server_options.enable_strict_routes | bool | false | swap | used | A listen path /app matches only /app and /app/..., not /apple.
http_server_options.enable_path_prefix_matching | bool | false | swap | used | Anchor endpoint paths at the start.
http_server_options.enable_path_suffix_matching | bool | false | swap | used | Anchor endpoint paths at the end.
http_server_options.enable_websockets | bool | false | swap | used | Let requests that ask for a WebSocket become tunnels.
http_server_options.certificates | [cert] |  | swap | used | Certificates of the TLS listener, chosen by domain_name: {domain_name, cert_file, key_file}.
http_server_options.ssl_certificates | [str] |  | swap | used | PEM files with certificate and key, chosen by the names in them.
http_server_options.server_name | str |  | swap | accepted | Server name of the TLS configuration.
http_server_options.min_version | int=0,769,770,771,772 | 0 | swap | used | Lowest TLS version: 769 is 1.0, 770 is 1.1, 771 is 1.2, 772 is 1.3; 0 means 1.2.
http_server_options.max_version | int=0,769,770,771,772 | 0 | swap | used | Highest TLS version; 0 means 1.3.
http_server_options.ssl_ciphers | [str] |  | swap | used | Cipher suites of TLS 1.2, by their names in the IANA registry.
http_server_options.ssl_insecure_skip_verify | bool | false | swap | accepted | Do not check client certificates.
http_server_options.skip_client_ca_announcement | bool | false | swap | accepted | Do not name the accepted authorities in the handshake.
http_server_options.flush_interval | int | 0 | swap | accepted | Milliseconds between flushes of a streamed response; here everything is passed on at once.
http_server_options.skip_url_cleaning | bool | false | swap | used | Do not redirect paths with double slashes or dot segments.
http_server_options.skip_target_path_escaping | bool | false | swap | used | Send the path upstream byte for byte, without percent-encoding punctuation.
http_server_options.max_request_body_size | int | 0 | swap | used | Bytes of a request body; more is answered with 413; 0 means no limit.
http_server_options.max_response_body_size | int | 0 | swap | accepted | Bytes of a response body that has to be held.
http_server_options.xff_depth | int | 0 | swap | used | Which entry of X-Forwarded-For is the client: 0 the first, n the n-th from the right.
proxy_ssl_insecure_skip_verify | bool | false | swap | used | Do not verify upstreams' certificates.
proxy_ssl_min_version | int=0,769,770,771,772 | 0 | swap | used | Lowest TLS version towards upstreams; 0 means 1.2.
proxy_ssl_max_version | int=0,769,770,771,772 | 0 | swap | used | Highest TLS version towards upstreams; 0 means 1.3.
proxy_ssl_ciphers | [str] |  | swap | used | Cipher suites of TLS 1.2 towards upstreams.
proxy_ssl_disable_renegotiation | bool | false | swap | accepted | Forbid TLS renegotiation; it is always off here.
proxy_enable_http2 | bool | false | swap | accepted | HTTP/2 towards upstreams; HTTP/1.1 is used.
ssl_force_common_name_check | bool | false | swap | accepted | Check the common name of upstream certificates; subject alternative names are always checked.
max_idle_connections | int | 0 | swap | accepted | Idle upstream connections in all.
max_idle_connections_per_host | int | 0 | swap | used | Idle connections of a worker to one upstream; 0 means preforge.upstream.max_connections_per_host.
max_conn_time | int | 0 | swap | used | Seconds that an upstream connection is used at most; 0 means no limit.
close_connections | bool | false | swap | used | Close client connections after each response.
proxy_close_connections | bool | false | swap | used | Close upstream connections after each response.
proxy_default_timeout | num | 30 | swap | used | Seconds to connect to an upstream and to get its response head; then 504.
app_path | str |  | swap | used | Directory of the API definitions (*.json).
template_path | str |  | swap | used | Directory of the error templates; empty means the built-in ones.
enable_custom_domains | bool | false | swap | used | Honour the `domain` of API definitions.
hide_generator_header | bool | false | swap | used | Leave X-Generator out of error answers.
ignore_canonical_mime_header_key | bool | false | swap | used | Send header names from the configuration as they are written.
ignore_endpoint_case | bool | false | swap | used | Match endpoint paths without regard to case.
health_check_endpoint_name | str | hello | swap | used | Name of the liveness endpoint.
readiness_check_endpoint_name | str | ready | swap | used | Name of the readiness endpoint.
graceful_shutdown_timeout_duration | int | 30 | swap | used | Seconds that running requests get to finish when the gateway stops or a worker is replaced.
graceful_shutdown_delay_seconds | int | 0 | swap | accepted | Seconds between /ready saying no and the end of accepting.
log_level | str=,debug,info,warn,error | info | swap | used | Least severe messages that are logged.
log_format | str=,text,json,legacy | text | restart | used | Form of log lines.
access_logs.enabled | bool | false | restart | used | Write one line per request.
access_logs.template | [str] |  | restart | used | Fields of an access log line; empty means all.
override_messages | {any} |  | swap | used | Other texts and codes for messages: {id: {message, code}}.
secrets | {str} |  | swap | used | Values for secrets:// references.
kv.file.base_path | str |  | swap | used | Directory of file:// references.
enable_jsvm | bool |  | swap | used | Run JavaScript. Without it an API with hooks in JavaScript answers 500, and virtual endpoints lead to the upstream.
jsvm_timeout | int | 0 | swap | used | Seconds that a hook or virtual endpoint may run, with all that it waits for; then it has failed. 0 or less means 5.
disable_virtual_path_blobs | bool |  | swap | used | Do not load virtual endpoints whose code stands in the definition: calls of them fail. Those in files work.
tyk_js_path | str |  | swap | used | Script that is loaded before all others of every API; a relative path is looked up from the working directory, then beside tyk.conf.
middleware_path | str | middleware | swap | used | Directory with the folders API_ID/pre, auth, post_auth and post, whose .js files run by themselves. Paths in definitions do not start there, but in the working directory, else beside tyk.conf.
"""
