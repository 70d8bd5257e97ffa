"""Keys, sessions, policies, limits and organisations. Columns as in table.py; facts from tyk-core section 1."""

TEXT = """
version_header | str |  | swap | used | Response header that says which version served a request that named none; empty means no such header.
policies.policy_source | str |  | swap | accepted | Where policies come from.
policies.policy_connection_string | str |  | swap | accepted | Address of the Dashboard for policies.
policies.policy_record_name | str |  | swap | accepted | File with all policies.
policies.policy_path | str |  | swap | accepted | Directory with one file per policy.
policies.allow_explicit_policy_id | bool |  | swap | accepted | Take policy ids from the file.
allow_unsafe_policy_ids | bool |  | swap | accepted | Do not check the characters of policy ids.
hash_keys | bool |  | swap | accepted | Store keys as hashes.
hash_key_function | str |  | swap | accepted | How keys are hashed.
hash_key_function_fallback | [str] |  | swap | accepted | Older ways of hashing that are still looked up.
basic_auth_hash_key_function | str |  | swap | accepted | How passwords are hashed.
enable_hashed_keys_listing | bool |  | swap | accepted | List the hashes of keys.
min_token_length | int |  | swap | used | Keys of up to so many characters are refused without a look at the store; 0 means 3.
disable_key_actions_by_username | bool |  | swap | accepted | Do not address keys by user name.
allow_master_keys | bool |  | swap | accepted | Let a key without access rights open every API.
enable_key_logging | bool |  | swap | used | Write whole keys to the log lines of event handlers; without it their last four characters.
local_session_cache.disable_cached_session_state | bool |  | swap | accepted | Do not cache sessions.
local_session_cache.cached_session_timeout | int |  | swap | accepted | Seconds that a session is cached.
local_session_cache.cached_session_eviction | int |  | swap | accepted | Seconds between clean-ups of cached sessions.
force_global_session_lifetime | bool |  | swap | accepted | Use global_session_lifetime for every key.
global_session_lifetime | int |  | swap | accepted | Seconds that a key is kept.
session_lifetime_respects_key_expiration | bool |  | swap | accepted | Keep a key at least until it expires.
suppress_default_org_store | bool |  | swap | accepted | Do not fall back to a store for all organisations.
enable_fixed_window_rate_limiter | bool |  | swap | accepted | Count rate limits in fixed windows in the store.
enable_sentinel_rate_limiter | bool |  | swap | accepted | Count rate limits in the store, off the request's way.
enable_redis_rolling_limiter | bool |  | swap | accepted | Count rate limits in a rolling window in the store.
enable_non_transactional_rate_limiter | bool |  | swap | accepted | Use a pipeline instead of a transaction for that.
enable_rate_limit_smoothing | bool |  | swap | accepted | Let limits grow and shrink step by step.
rate_limit_response_headers | str |  | swap | accepted | What X-RateLimit headers report.
enforce_org_quotas | bool |  | swap | accepted | Enforce quotas of organisations.
enforce_org_data_age | bool |  | swap | used | Records expire as their organisation's session says (data_expires).
enforce_org_data_detail_logging | bool |  | swap | used | Record the wire text where the organisation's session asks for it.
experimental_process_org_off_thread | bool |  | swap | accepted | Check organisations off the request's way.
"""
