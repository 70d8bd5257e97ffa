"""Events, web hooks and monitors. Columns as in table.py; facts from tyk-core section 1."""

TEXT = """
monitor | {any} |  | swap | accepted | Webhooks that fire when quotas run low.
event_handlers | {any} |  | swap | accepted | Handlers of the gateway's own events.
"""
