"""Keys, sessions, policies, limits and organisations. Columns as in table.py; facts from tyk-core section 1."""

TEXT = """
version_header | str |  | swap | used | Response header that says which version served a request that named none; empty means no such header.
policies.policy_source | str |  | swap | used | "file" or empty: policies are read from files; "service" and "rpc" are refused with an error.
policies.policy_connection_string | str |  | swap | ignored | Address of the Dashboard for policies.
policies.policy_record_name | str |  | swap | used | File with all policies; the keys of its object are their ids.
policies.policy_path | str |  | swap | used | Directory with one file per policy; goes before policy_record_name.
policies.allow_explicit_policy_id | bool |  | swap | ignored | The id in a policy always counts.
allow_unsafe_policy_ids | bool |  | swap | used | Do not check the characters of policy ids in files.
hash_keys | bool |  | swap | used | Store keys as hashes.
hash_key_function | str |  | swap | used | How new keys are hashed: murmur32, murmur64, murmur128 or sha256; empty means keys of the old form, hashed with murmur32.
hash_key_function_fallback | [str] |  | swap | used | Older ways of hashing under which keys are still looked up by their ids.
basic_auth_hash_key_function | str |  | swap | used | How passwords are hashed: bcrypt, sha256, murmur32, murmur64 or murmur128; empty means bcrypt.
enable_hashed_keys_listing | bool |  | swap | used | List the hashes of keys.
min_token_length | int |  | swap | used | Keys of up to so many characters are refused without a look at the store; 0 means 3.
disable_key_actions_by_username | bool |  | swap | used | Do not take the id of a key for the key, in requests and in the REST API.
allow_master_keys | bool |  | swap | used | Let the REST API make keys without access rights, which open every API.
enable_key_logging | bool |  | swap | used | Write whole keys to the log, not only their last characters.
local_session_cache.disable_cached_session_state | bool |  | swap | used | Ask the store for every request's session.
local_session_cache.cached_session_timeout | int |  | swap | ignored | Sessions are cached for 10 seconds, and no longer than until they change.
local_session_cache.cached_session_eviction | int |  | swap | ignored | The oldest cached session goes when preforge.sessions.max_cached are there.
force_global_session_lifetime | bool |  | swap | used | Use global_session_lifetime for every key that is written.
global_session_lifetime | int |  | swap | used | Seconds that a key is kept; 0 and below: for ever.
session_lifetime_respects_key_expiration | bool |  | swap | used | Keep a key at least until it expires.
suppress_default_org_store | bool |  | swap | used | Write no session of an organisation while no API is loaded.
enable_fixed_window_rate_limiter | bool |  | swap | used | Count rate limits in the store, in windows of fixed length; goes before the other two.
enable_sentinel_rate_limiter | bool |  | swap | used | Count rate limits in the store beside the request, so that one or more may pass; goes before the rolling one.
enable_redis_rolling_limiter | bool |  | swap | used | Count rate limits in the store, in a rolling window.
enable_non_transactional_rate_limiter | bool |  | swap | ignored | A rolling window is counted by a script, in one step.
enable_rate_limit_smoothing | bool |  | swap | accepted | Let limits grow and shrink step by step.
rate_limit_response_headers | str |  | swap | used | What X-Ratelimit-* report: the quota ("quotas" or empty), or the rate ("rate_limits").
enforce_org_quotas | bool |  | swap | used | Refuse requests when their API's organisation is inactive, or over its rate or quota.
enforce_org_data_age | bool |  | swap | used | Records expire as their organisation's session says (data_expires).
enforce_org_data_detail_logging | bool |  | swap | used | Record the wire text where the organisation's session asks for it.
experimental_process_org_off_thread | bool |  | swap | ignored | Organisations are checked before a request goes on.
"""
