from typing import Final

BUCKET_BOUNDS_US: Final[tuple[int, ...]]
OTHER: Final[str]
MAX_REGIONS: Final[int]
MAX_ROWS: Final[int]

G_HEARTBEAT: Final[int]
G_PID: Final[int]
G_GENERATION: Final[int]
G_CONNECTIONS: Final[int]
G_ACTIVE_REQUESTS: Final[int]
G_UPSTREAM_CONNECTIONS: Final[int]
G_UPSTREAM_IDLE: Final[int]
G_UPSTREAM_WAITERS: Final[int]
G_APIS: Final[int]
G_CONNECTIONS_TOTAL: Final[int]
G_REQUESTS_TOTAL: Final[int]
G_BYTES_IN: Final[int]
G_BYTES_OUT: Final[int]
G_UPSTREAM_CONNECTS: Final[int]
G_UPSTREAM_CONNECT_ERRORS: Final[int]
G_UPSTREAM_REUSED: Final[int]
G_UPSTREAM_RETRIES: Final[int]
G_UPSTREAM_TIMEOUTS: Final[int]
G_UPSTREAM_RESETS: Final[int]
G_CLIENT_ABORTS: Final[int]
G_NOT_FOUND: Final[int]
G_REDIRECTS: Final[int]
G_RELOADS: Final[int]
G_RELOAD_FAILURES: Final[int]
G_LOG_DROPPED: Final[int]
G_TUNNELS: Final[int]
G_STORE_CONNECTED: Final[int]
G_STORE_WAITING: Final[int]
G_KEYS_CACHED: Final[int]
G_STORE_COMMANDS: Final[int]
G_STORE_ERRORS: Final[int]
G_STORE_TIMEOUTS: Final[int]
G_STORE_REFUSED: Final[int]
G_STORE_RECONNECTS: Final[int]
G_KEYS_LOADED: Final[int]
G_KEYS_UNKNOWN: Final[int]
G_KEYS_STALE: Final[int]
G_KEYS_EVICTED: Final[int]
G_KEYS_EXTRACTED: Final[int]
G_QUOTA_ASKED: Final[int]
G_QUOTA_REPORTED: Final[int]
G_QUOTA_ALONE: Final[int]
G_RATE_ASKED: Final[int]
G_RATE_WAITED: Final[int]
G_NOTIFICATIONS_REFUSED: Final[int]
G_RECORDS: Final[int]
G_RECORD_RETRIES: Final[int]
G_EVENTS_FIRED: Final[int]
G_HOOKS_SENT: Final[int]
G_HOOKS_FAILED: Final[int]
G_HOOKS_SUPPRESSED: Final[int]
G_PATH_RESULTS_CLEARED: Final[int]
G_BREAKER_TRIPS: Final[int]
G_BREAKER_REFUSED: Final[int]
G_NAMED_HOSTS_DROPPED: Final[int]
G_SCRIPT_CONTEXTS: Final[int]
G_SCRIPTS_WAITING: Final[int]
G_PLUGINS_RUNNING: Final[int]
G_PLUGINS_WAITING: Final[int]
G_SCRIPT_CALLS: Final[int]
G_SCRIPTS_FAILED: Final[int]
G_SCRIPTS_ENDED: Final[int]
G_CONTEXTS_REPLACED: Final[int]
G_HOST_CALLS: Final[int]
G_SCRIPT_REQUESTS: Final[int]
G_CACHE_HITS: Final[int]
G_CACHE_MISSES: Final[int]
G_CACHE_STORED: Final[int]
G_CACHE_FAILED: Final[int]
B_CONNECTIONS: Final[int]
B_HEAD_BYTES: Final[int]
B_HEADERS: Final[int]
B_TARGET: Final[int]
B_BODY: Final[int]
B_BUFFERED_BODY: Final[int]
B_TRAILERS: Final[int]
B_CHUNK_EXTENSION: Final[int]
B_HEAD_TIMEOUT: Final[int]
B_IDLE_TIMEOUT: Final[int]
B_BODY_TIMEOUT: Final[int]
B_SEND_TIMEOUT: Final[int]
B_REQUEST_TIMEOUT: Final[int]
B_UPSTREAM_CONNECTIONS: Final[int]
B_UPSTREAM_WAIT: Final[int]
B_UPSTREAM_HEAD: Final[int]
B_PIPELINE: Final[int]
B_API_ROWS: Final[int]
B_RECORDS: Final[int]
B_EVENTS: Final[int]
B_COUNTERS: Final[int]
B_BUFFERED_RESPONSE: Final[int]
B_EVENT_SCRIPTS: Final[int]
B_EXTRACTED_TEXT: Final[int]
B_CACHE_BODY: Final[int]
B_PLUGINS: Final[int]
B_PLUGIN_EVENTS: Final[int]
B_PLUGIN_LINES: Final[int]
B_PLUGIN_MESSAGES: Final[int]
B_PLUGIN_QUESTIONS: Final[int]
B_SCRIPTS: Final[int]
B_SCRIPT_REQUESTS: Final[int]
B_SCRIPT_ANSWERS: Final[int]
B_SCRIPT_NETWORKS: Final[int]
B_SCRIPT_LOGS: Final[int]
B_SCRIPT_RESULTS: Final[int]
R_BAD_REQUEST: Final[int]
R_NOT_IMPLEMENTED: Final[int]
R_VERSION: Final[int]
R_EXPECTATION: Final[int]
R_BAD_RESPONSE: Final[int]
G_PLUGIN_CALLS: Final[int]
G_PLUGINS_FAILED: Final[int]
G_PLUGINS_AWAY: Final[int]
G_PLUGIN_TIMEOUTS: Final[int]
G_PLUGINS_CANCELLED: Final[int]
G_PLUGIN_RESTARTS: Final[int]
G_PLUGIN_EVENTS: Final[int]
G_PLUGIN_EVENTS_FAILED: Final[int]
A_STATUS: Final[int]
A_BUCKETS: Final[int]
A_LATENCY_US: Final[int]
A_UPSTREAM_US: Final[int]
A_UPSTREAM_COUNT: Final[int]
A_BYTES_IN: Final[int]
A_BYTES_OUT: Final[int]
A_THROTTLED: Final[int]
A_OVER_QUOTA: Final[int]
A_KEY_FAILURES: Final[int]
A_WORDS: Final[int]

class SharedCounters:
    @property
    def fd(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def regions(self) -> int: ...
    @property
    def rows_max(self) -> int: ...
    @property
    def overflows(self) -> int: ...
    @staticmethod
    def create(regions: int, rows: int) -> SharedCounters: ...
    @staticmethod
    def attach(fd: int) -> SharedCounters: ...
    def region(self, index: int) -> Region: ...
    def row_for(self, api_id: str, _stop: int = 0) -> int: ...
    def rows(self) -> list[tuple[int, str]]: ...
    def totals(self) -> dict[str, int]: ...
    def row_totals(self) -> dict[int, tuple[int, ...]]: ...

class Region:
    @property
    def owner(self) -> SharedCounters: ...
    @property
    def index(self) -> int: ...
    @property
    def heartbeat_ms(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def generation(self) -> int: ...
    def begin(self, generation: int, pid: int) -> None: ...
    def end(self) -> None: ...
    def beat(self) -> None: ...
    def value(self, word: int) -> int: ...
    def add(self, word: int, amount: int = 1) -> None: ...
    def set(self, word: int, value: int) -> None: ...
    def count(
        self,
        row: int,
        status: int,
        total_us: int,
        upstream_us: int = 0,
        bytes_in: int = 0,
        bytes_out: int = 0,
    ) -> None: ...
    def snapshot(self) -> dict[str, int]: ...

def stored_name(api_id: str) -> bytes: ...
def word_numbers() -> dict[str, int]: ...
def clock_ms() -> int: ...
