"""Events, web hooks and monitors. Columns as in table.py; facts from tyk-core section 1."""

TEXT = """
monitor | {any} |  | swap | used | Web hook that is sent when quotas run low: enable_trigger_monitors, configuration, global_trigger_limit, monitor_user_keys, monitor_org_keys (with enforce_org_quotas).
event_handlers | {any} |  | swap | used | Handlers of the gateway's own events (TokenCreated, TokenUpdated, TokenDeleted): {"events": {name: [{handler_name, handler_meta}]}}.
event_trigers_defunct | any |  | swap | used | Old form of event_handlers, used when that has no events: {name: [{handler, handler_meta}]}.
preforge.events.max_queued | int | 1000 | swap | used | Events that wait in one worker for one web hook host; one more is dropped and counted.
preforge.events.max_concurrent_per_target | int | 8 | swap | used | Web hooks that one worker sends to one host at a time.
preforge.events.max_queued_scripts | int | 1000 | swap | used | Events that wait in one worker for scripts (eh_dynamic_handler), at most half of them of one API; one more is dropped and counted.
preforge.events.max_concurrent_scripts | int | 4 | swap | used | Event scripts that one worker runs at a time, at most half of them of one API; never more than half of preforge.jsvm.max_contexts.
preforge.events.timeout | num | 30 | swap | used | Seconds that one web hook may take.
preforge.events.max_request_bytes | int | 16384 | swap | used | Bytes of the originating request that an event carries; 0 leaves it out.
preforge.events.blocked_networks | [cidr] | 169.254.0.0/16,fe80::/10 | swap | used | Networks that no web hook is sent to, whatever name they have.
"""
