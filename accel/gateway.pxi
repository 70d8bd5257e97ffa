DEFAULTS = {
    "max_head": 65536, "max_target": 16384, "max_fields": 200, "underscores": U_AMBIGUOUS, "max_clients": 10000,
    "max_requests": 0, "max_trailer": 8192, "max_extension": 1024, "max_body": 0, "max_buffered": 10485760,
    "max_held": 10485760,
    "max_origin": 1024, "max_waiters": 4096, "max_up_head": 65536, "max_up_requests": 0, "max_idle": 1024,
    "head_ms": 10000, "idle_ms": 75000, "body_ms": 30000, "send_ms": 30000, "total_ms": 3600000, "linger_ms": 2000,
    "drain_idle_ms": 2000, "min_rate": 240, "up_idle_ms": 90000, "connect_ms": 30000, "wait_ms": 5000, "up_age_ms": 0,
    "clean_urls": True, "escape_paths": True, "websockets": False, "close_connections": False, "up_close": False,
    "id_header": b"X-Request-Id", "id_response": True, "id_upstream": False, "id_trust": False,
    "forward_trailers": False, "rate_headers": False, "generator": b"Preforge", "user_agent": b"Preforge",
}


cdef class Gateway:
    """One worker's data path: settings, clients, upstream pools, the current router.

    loop: the running uvloop loop; region: shared counters that only this process writes; pages: (status: int,
    message: str, content type: bytes) -> (content type, body); logger: logging.Logger; settings: see DEFAULTS, times
    in milliseconds, sizes in bytes.
    """

    def __init__(self, object loop, Region region not None, object pages, object logger, AccessLog log=None,
                 dict settings=None):
        self.loop = loop
        self.region = region
        self.g = region.g
        self.pages = pages
        self.logger = logger
        self.log = log
        self.wheel = Wheel()
        self.out = Buffer()
        self.router = Router()
        self.controls = {}
        self.control_prefixes = []
        self.origins = {}
        self.clients = set()
        self.id_prefix = os.urandom(8).hex().encode()
        self.id_next = int.from_bytes(os.urandom(4), "little")
        self.epoch_ms = <int64_t>(time.time() * 1000) - self.wheel.now
        self.date_at = -1
        self.configure(settings or {})
        self._refresh()
        self.timer = loop.call_later(0.1, self._tick)

    def configure(self, dict settings not None):
        """Take new settings; they count for connections and requests from now on. Raises KeyError for unknown names."""
        cdef dict s = dict(DEFAULTS)
        for name in settings:
            if name not in s:
                raise KeyError(name)
        s.update(settings)
        self.limits.max_target = s["max_target"]
        self.limits.max_fields = s["max_fields"]
        self.limits.underscores = s["underscores"]
        self.max_head, self.max_clients, self.max_requests = s["max_head"], s["max_clients"], s["max_requests"]
        self.max_trailer, self.max_extension = s["max_trailer"], s["max_extension"]
        self.max_body, self.max_buffered, self.max_held = s["max_body"], s["max_buffered"], s["max_held"]
        self.max_origin, self.max_waiters, self.max_idle = s["max_origin"], s["max_waiters"], s["max_idle"]
        self.max_up_head, self.max_up_requests = s["max_up_head"], s["max_up_requests"]
        self.max_up_age = s["up_age_ms"]
        self.t_head, self.t_idle, self.t_body, self.t_send = s["head_ms"], s["idle_ms"], s["body_ms"], s["send_ms"]
        self.t_total, self.t_linger, self.t_drain_idle = s["total_ms"], s["linger_ms"], s["drain_idle_ms"]
        self.t_up_idle, self.t_connect, self.t_wait = s["up_idle_ms"], s["connect_ms"], s["wait_ms"]
        self.min_rate = s["min_rate"]
        self.clean_urls, self.escape_paths, self.websockets = s["clean_urls"], s["escape_paths"], s["websockets"]
        self.close_connections, self.up_close = s["close_connections"], s["up_close"]
        self.id_header = canonical(s["id_header"])
        self.id_response, self.id_upstream = s["id_response"], s["id_upstream"]
        self.id_trust = s["id_trust"]
        self.forward_trailers = s["forward_trailers"]
        self.rate_headers = s["rate_headers"]
        self.generator = s["generator"]
        self.user_agent = b"User-Agent: " + <bytes>s["user_agent"] + b"\r\n"

    # -- wiring --------------------------------------------------------------

    def client(self):
        """Protocol factory for loop.create_server."""
        return Client(self)

    def origin(self, str host not None, int port, object tls=None, str server_name=""):
        """The pool for an upstream; the same identity gives the same pool."""
        key = (host, port, tls, server_name)
        found = self.origins.get(key)
        if found is None:
            found = self.origins[key] = Origin(self, host, port, tls, server_name)
        return found

    def forget(self, Origin origin not None):
        """Give a pool up: its idle connections are closed, the others when they become idle for long."""
        for key, known in self.origins.items():
            if known is origin:
                del self.origins[key]
                break
        origin.close_idle()

    def control_plan(self, bytes path not None, Plan plan not None, bint prefix=False):
        """Let a plan answer a path of the gateway itself; it goes before every API."""
        if prefix:
            self.control_prefixes.append((path, plan))
        else:
            self.controls[path] = plan

    def set_pages(self, object pages not None):
        """Use other error pages from now on."""
        self.pages = pages

    def clear_controls(self):
        """Forget all control plans, before setting new ones."""
        self.controls = {}
        self.control_prefixes = []

    def swap(self, Router router not None, object used_origins):
        """Use another router from the next request on. Pools that no plan uses any more are closed when idle."""
        cdef Origin origin
        self.router = router
        self.g[G_APIS] = router.size
        kept = set(used_origins)
        for key, origin in list(self.origins.items()):
            if origin not in kept:
                del self.origins[key]
                origin.close_idle()

    # -- the end -------------------------------------------------------------

    async def drain(self, double grace):
        """Finish: every client gets `Connection: close` with its next answer; idle ones are closed soon.

        Returns when no client is left or after `grace` seconds, when the rest is cut off.
        """
        cdef Client client
        cdef Origin origin
        self.draining = True
        self.drained = self.loop.create_future()
        for client in list(self.clients):
            if client.state == C_HEAD and client.phase == T_IDLE:
                client.arm(T_IDLE, self.t_drain_idle)
        if self.clients:
            try:
                await asyncio.wait_for(asyncio.shield(self.drained), grace)
            except asyncio.TimeoutError:
                self.logger.warning("%d connections cut off after %g s of draining", len(self.clients), grace)
        self.abort()

    def abort(self):
        """Close everything now."""
        cdef Client client
        cdef Origin origin
        for client in list(self.clients):
            client.abort()
        for origin in self.origins.values():
            origin.close_idle()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.log is not None:
            self.log.write_out()

    # -- every 100 ms --------------------------------------------------------

    def _tick(self):
        self.timer = self.loop.call_later(0.1, self._tick)
        try:
            self.wheel.tick()
            self._refresh()
        except Exception:
            self.logger.exception("timer")

    cdef int _refresh(self) except -1:
        """The Date header's text, once a second (RFC 9110 section 6.6.1)."""
        cdef int64_t second
        self.epoch_ms = <int64_t>(time.time() * 1000) - self.wheel.now
        second = (self.epoch_ms + self.wheel.now) // 1000
        if second != self.date_at:
            self.date_at = second
            t = time.gmtime(second)
            self.date = (b"Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n" % (
                (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")[t.tm_wday], t.tm_mday,
                (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
                 b"Dec")[t.tm_mon - 1], t.tm_year, t.tm_hour, t.tm_min, t.tm_sec))
            if self.log is not None:
                self.g[G_LOG_DROPPED] = self.log.dropped
        return 0

    cdef bytes new_id(self):
        """32 hexadecimal digits: 64 random bits of the worker, then a counter from a random start."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, 32)
        cdef char* d = PyBytes_AS_STRING(out)
        cdef uint64_t value = self.id_next
        cdef int i
        self.id_next += 1
        memcpy(d, PyBytes_AS_STRING(self.id_prefix), 16)
        for i in range(31, 15, -1):
            d[i] = b"0123456789abcdef"[value & 15]
            value >>= 4
        return out

    cdef Plan control(self, bytes path):
        cdef object plan = self.controls.get(path)
        if plan is None:
            for prefix, candidate in self.control_prefixes:
                if path.startswith(prefix):
                    return candidate
        return plan
