"""Options of ours: the `preforge` section of tyk.conf. Columns as in table.py."""

TEXT = """
preforge.workers | int | 0 | restart | used | Number of worker processes; 0 means one per CPU that this process may use.
preforge.listener | str=reuseport,shared | reuseport | restart | used | "reuseport": one listening socket per worker slot, spread by the kernel; "shared": one socket for all workers.
preforge.backlog | int | 4096 | restart | used | Connections that may wait in a listening socket's queue; the kernel's somaxconn bounds it too.
preforge.control_socket | str |  | restart | used | Unix socket of `preforge status|reload|upgrade|stop`; empty means preforge.sock beside the pid file, else a private directory of the user.
preforge.worker_timeout | int | 30 | swap | used | Seconds without a heartbeat after which a worker is ended and replaced.
preforge.worker_start_timeout | int | 60 | swap | used | Seconds that a new worker may take until it is ready.
preforge.crash_backoff_max | int | 30 | swap | used | Longest pause in seconds between starts of a worker that keeps dying.
preforge.trusted_proxies | [cidr] |  | swap | used | Networks whose X-Forwarded-For and X-Real-IP are believed: for the client's address in IP lists, the access log and analytics records. Without any, that is the peer's.
preforge.limits.max_connections | int | 10000 | swap | used | Client connections per worker; one more is answered with 503 and closed.
preforge.limits.max_head_bytes | int | 65536 | swap | used | Size of a request head; a larger one is answered with 431.
preforge.limits.max_target_bytes | int | 16384 | swap | used | Size of a request target; a larger one is answered with 414.
preforge.limits.max_headers | int | 200 | swap | used | Header fields of a message; a request with more is answered with 431.
preforge.limits.max_trailer_bytes | int | 8192 | swap | used | Size of a trailer section; a larger one makes the message invalid.
preforge.limits.max_chunk_extension_bytes | int | 1024 | swap | used | Size of one chunk's extension; a larger one makes the message invalid.
preforge.limits.max_buffered_body_bytes | int | 10485760 | swap | used | Size of a request body that has to be held whole for a step; a larger one is answered with 413.
preforge.limits.max_buffered_response_bytes | int | 10485760 | swap | used | Size of a response body that has to be held whole for a response step; a larger one is answered with 500.
preforge.limits.max_requests_per_connection | int | 0 | swap | used | Requests of one client connection, which is then closed; 0 means no limit.
preforge.limits.underscore_headers | str=ambiguous,refuse,drop,allow | ambiguous | swap | used | Header names with "_": refuse those that an upstream may read as a framing, routing or credential header (ambiguous), refuse or drop all, or allow all.
preforge.timeouts.head | num | 10 | swap | used | Seconds from the first byte of a request to the end of its head; then 408.
preforge.timeouts.idle | num | 75 | swap | used | Seconds that a client connection may stay without a request.
preforge.timeouts.body | num | 30 | swap | used | Seconds in which a request body must progress by min_rate; then 408.
preforge.timeouts.send | num | 30 | swap | used | Seconds in which a client must take response bytes at min_rate; then its connection is cut.
preforge.timeouts.min_rate | int | 240 | swap | used | Bytes per second that a client must send or take within the windows above.
preforge.timeouts.request | num | 3600 | swap | used | Seconds for one whole exchange; 0 means no limit.
preforge.timeouts.linger | num | 2 | swap | used | Seconds in which input is thrown away after a last answer, so that the client can read it.
preforge.timeouts.drain_idle | num | 2 | swap | used | Seconds after which a connection without a request is closed when its worker ends.
preforge.upstream.max_connections_per_host | int | 1024 | swap | used | Connections of one worker to one upstream.
preforge.upstream.max_waiters | int | 4096 | swap | used | Requests of one worker that wait for a connection to one upstream; one more is answered with 503.
preforge.upstream.wait_timeout | num | 5 | swap | used | Seconds that a request waits for an upstream connection; then 503.
preforge.upstream.max_head_bytes | int | 65536 | swap | used | Size of a response head; a larger one makes the response invalid.
preforge.upstream.max_requests_per_connection | int | 0 | swap | used | Requests on one upstream connection, which is then closed; 0 means no limit.
preforge.upstream.idle_timeout | num | 90 | swap | used | Seconds that an upstream connection is kept without a request.
preforge.upstream.connect_timeout | num | 0 | swap | used | Seconds to connect to an upstream; 0 means proxy_default_timeout.
preforge.upstream.max_named_hosts | int | 256 | swap | used | Upstream hosts that a key or a request names in url_rewrites and that a worker keeps connections to; the one that was not used for longest goes.
preforge.request_id.header | str | X-Request-Id | swap | used | Name of the header that carries the request id.
preforge.request_id.response | bool | true | swap | used | Add the request id to every response.
preforge.request_id.upstream | bool | false | swap | used | Send the request id to upstreams.
preforge.request_id.trust_client | bool | false | swap | used | Keep the id that a client sent, up to 128 bytes.
preforge.forward_request_trailers | bool | false | swap | used | Pass the trailer section of chunked requests on.
preforge.metrics.path | str | /metrics | swap | used | Path of the Prometheus metrics; empty turns them off.
preforge.metrics.allow | [cidr] | 127.0.0.0/8,::1/128 | swap | used | Networks that may read the metrics; others get 403.
preforge.metrics.max_apis | int | 16384 | restart | used | APIs that have counters of their own; further ones share one row.
preforge.access_log.path | str |  | restart | used | File of the access log; empty means standard error, with the other logs.
preforge.access_log.format | str=json,text | json | restart | used | Form of an access log line.
preforge.access_log.buffer_bytes | int | 1048576 | restart | used | Lines that wait to be written; more are dropped and counted.
preforge.access_log.flush_interval | num | 1 | restart | used | Seconds between writes of the access log.
preforge.bundles.timeout | num | 5 | swap | used | Seconds for one attempt to fetch a plugin bundle.
preforge.bundles.load_timeout | num | 15 | swap | used | Seconds that all downloads of plugin bundles of one start or reload may take together; APIs whose bundle is not there by then refuse every request.
preforge.bundles.retries | int | 4 | swap | used | Further attempts after a failed one, with growing pauses; an answer such as 404 settles the matter at once.
preforge.bundles.max_bytes | int | 52428800 | swap | used | Size of a plugin bundle's archive; a larger one is not used.
preforge.bundles.max_files | int | 2000 | swap | used | Members of a plugin bundle's archive; one with more is not used.
preforge.bundles.max_file_bytes | int | 52428800 | swap | used | Unpacked size of one file of a plugin bundle; a bundle with a larger one is not used.
preforge.bundles.max_unpacked_bytes | int | 209715200 | swap | used | Unpacked size of a whole plugin bundle; a larger one is not used.
preforge.bundles.max_ratio | int | 200 | swap | used | How many times its packed size a plugin bundle, or a file in it, may unpack to; counts from 1 MiB unpacked.
preforge.sessions.max_cached | int | 10000 | swap | used | Sessions that a worker keeps; the oldest goes first.
preforge.sessions.max_stale | num | 300 | swap | used | Seconds that a session may be used since it was read while the store is away; then 503.
preforge.limits.max_extract_bytes | int | 32768 | swap | used | Size of a form, or of a text that the expression of an ID extractor is applied to; in a larger one nothing is found, which is answered with 400.
preforge.cache.max_body | int | 5242880 | swap | used | Size of an answer's body that is cached; a larger one is not.
preforge.cache.max_copied | int | 67108864 | swap | used | Bytes of all answers that one worker is copying for the cache; an answer that would need more is not cached.
preforge.cache.max_pattern_body | int | 16384 | swap | used | Size of a request body that cache_key_regex searches; requests with a larger one are not answered from the cache.
preforge.limits.max_counters | int | 65536 | restart | used | Rate limits, quotas and circuit breakers (two each) that are counted at one time on this node; a limit more is refused with 503, a breaker more never opens.
preforge.limits.max_path_results | int | 4096 | swap | used | Answers of the path lists that a worker remembers; when there are more, all are forgotten. 0 remembers none.
preforge.quota.report_interval | num | 0.1 | restart | used | Seconds between reports to the store of requests that were counted on the node.
preforge.jsvm.contexts | int | 2 | restart | used | JavaScript contexts that every worker has ready when it starts.
preforge.jsvm.max_contexts | int | 16 | swap | used | JavaScript contexts of one worker, shared by its APIs.
preforge.jsvm.memory_limit_mb | num | 64 | swap | used | Memory of one context in MB; a script that needs more has failed, and the context is replaced.
preforge.jsvm.max_queued | int | 1024 | swap | used | Calls of one worker that wait for a context; one more is answered with 503.
preforge.jsvm.max_result_bytes | int | 16777216 | swap | used | Size of what a script returns; a script that returns more has failed.
preforge.jsvm.max_script_bytes | int | 4194304 | swap | used | Size of one API's scripts and modules together; what is beyond it is not loaded.
preforge.jsvm.max_modules | int | 500 | swap | used | Modules that the scripts of one API may require, and scripts that are read of one folder.
preforge.jsvm.http_timeout | num | 0 | swap | used | Seconds for one HTTP request of a script; 0 means that jsvm_timeout alone bounds it.
preforge.jsvm.max_response_bytes | int | 10485760 | swap | used | Size of the answer to an HTTP request of a script; a larger one makes the request fail.
preforge.jsvm.max_requests | int | 64 | swap | used | HTTP requests of scripts that one worker makes at one time; further ones wait.
preforge.jsvm.blocked_networks | [cidr] |  | swap | used | Networks that scripts cannot send HTTP requests to, judged by the address that is connected to.
preforge.jsvm.max_log_bytes | int | 65536 | swap | used | Bytes that one call of a script may log; more is left out.
preforge.plugins.deadline | num | 5 | swap | used | Seconds that one call of a plugin may take, when neither the hook nor its API says otherwise (preforge.plugins.deadline of a definition); then it has failed.
preforge.plugins.servers | {any} |  | swap | used | Plugin servers that definitions (preforge.plugins.server of an API or of a hook) and global hooks choose by name: {name: {"driver": ..., settings}}. grpc: target, authority, round_robin, recv_max_size, send_max_size, connections, max_in_flight, max_waiting, max_events, max_events_in_flight, max_bytes, tls, ca_file, cert_file, key_file, server_name and others (coprocess/grpc/SERVERS.md); jsonrpc: command, cwd, env, children, max_in_flight, max_waiting, framing, max_message and others (coprocess/jsonrpc/PROTOCOL.md); python: interpreter, python_path, processes, threads, bundle (a directory; without it, the bundle of the API) and others (coprocess/python/PLUGINS.md). The only server of a driver serves hooks that name none.
preforge.plugins.global_hooks | [any] |  | swap | used | Hooks added to all APIs, or to those with one of tags, in the order of the list: [{hook: pre, post_key_auth, post or response, name, tags, position: before or after the API's own, and for a plugin server (or driver), raw_body_only, deadline, for JavaScript driver: otto or javascript, path, require_session}]. They need enable_coprocess or enable_jsvm.
"""
