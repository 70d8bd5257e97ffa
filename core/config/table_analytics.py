"""Analytics records and health numbers. Columns as in table.py; facts from tyk-core section 1."""

TEXT = """
enable_analytics | bool |  | swap | accepted | Record requests.
analytics_config | {any} |  | swap | accepted | What is recorded and how long it is kept.
track_404_logs | bool |  | swap | accepted | Record requests that no API answers.
health_check.enable_health_checks | bool |  | swap | accepted | Keep numbers for /tyk/health.
health_check.health_check_value_timeouts | int |  | swap | accepted | Seconds that those numbers cover.
"""
