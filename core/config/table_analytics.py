"""Analytics records and health numbers. Columns as in table.py; facts from tyk-core section 1."""

TEXT = """
enable_analytics | bool |  | swap | used | Write a record of every request that reached an API to the analytics store, where Tyk Pump fetches it.
analytics_config.type | str |  | swap | ignored | A free text.
analytics_config.ignored_ips | [str] |  | swap | used | Addresses of clients whose requests are not recorded.
analytics_config.enable_detailed_recording | bool |  | swap | used | Record the wire text of all requests and responses too.
analytics_config.enable_geo_ip | bool |  | swap | accepted | Add geographic data to records.
analytics_config.geo_ip_db_path | str |  | swap | accepted | File of the GeoIP database.
analytics_config.normalise_urls.enabled | bool |  | swap | used | Replace what varies in the paths of records.
analytics_config.normalise_urls.normalise_uuids | bool |  | swap | used | UUIDs become {uuid}.
analytics_config.normalise_urls.normalise_ulids | bool |  | swap | used | ULIDs become {ulid}.
analytics_config.normalise_urls.normalise_numbers | bool |  | swap | used | Path segments of digits become {id}.
analytics_config.normalise_urls.custom_patterns | [str] |  | swap | used | What these regular expressions find becomes {var}.
analytics_config.pool_size | int |  | restart | ignored | Number of recording tasks; each worker process has one.
analytics_config.records_buffer_size | int |  | restart | used | Records that a worker writes together, at the latest after 0.2 s; 0 means 1000.
analytics_config.storage_expiration_time | int |  | swap | used | Seconds after which the store removes a list of records that nobody fetched; 0 means 60, -1 never.
analytics_config.enable_multiple_analytics_keys | bool |  | swap | used | Spread the records over ten lists.
analytics_config.purge_interval | num |  | swap | ignored | Seconds between moves of records to a database; Tyk Pump does that.
analytics_config.serializer_type | str |  | swap | accepted | Form of the records; they are always written as msgpack.
track_404_logs | bool |  | swap | accepted | Log requests that no API answers; the access log has them, with the flag NRH.
health_check.enable_health_checks | bool |  | swap | used | Keep numbers for /tyk/health.
health_check.health_check_value_timeouts | int |  | swap | used | Seconds that those numbers cover; 0 means 60.
preforge.analytics.max_buffered_records | int | 100000 | restart | used | Records of one worker that wait for the store; more are dropped and counted.
preforge.analytics.max_buffered_bytes | int | 67108864 | restart | used | Bytes of records of one worker that wait for the store; more are dropped and counted. As many again hold the bodies for detailed records of requests that run; over that, bodies are cut.
preforge.analytics.max_recorded_body_bytes | int | 65536 | restart | used | Bytes of each body in a detailed record; a longer one is cut, and a line in the recorded head says so.
preforge.analytics.max_list_length | int | 0 | swap | used | Records in a list of the store; when nobody fetches them the oldest are dropped and counted. 0 means 1000000, and 100000 in the embedded store.
"""
