cdef class Origin:
    def __init__(self, Gateway gw not None, str host not None, int port, object tls=None, str server_name=""):
        """tls: ssl.SSLContext or None; server_name: name that the certificate must match and that SNI sends."""
        self.gw = gw
        self.host = host
        self.port = port
        self.tls = tls
        self.server_name = server_name or host
        self.label = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()
        self.idle = []
        self.waiters = deque()

    cdef int acquire(self, Exchange x) except -1:
        """Give x a connection now, or later, or fail it; never neither."""
        cdef Upstream u
        cdef Gateway gw = self.gw
        x.stage = X_CONNECT
        while self.idle and not x.retried:
            u = <Upstream>self.idle.pop()
            gw.g[G_UPSTREAM_IDLE] -= 1
            if not u.lost:
                gw.g[G_UPSTREAM_REUSED] += 1
                u.attach(x)
                return 0
        if self.open < gw.max_origin:
            return self.connect_for(x)
        if len(self.waiters) >= gw.max_waiters:
            gw.g[B_UPSTREAM_CONNECTIONS] += 1
            return x.upstream_failed(E_BUSY, None)
        self.waiters.append((x, x.serial))
        gw.g[G_UPSTREAM_WAITERS] += 1
        x.client.arm(T_WAIT, gw.t_wait)
        return 0

    cdef int connect_for(self, Exchange x) except -1:
        self.open += 1
        self.gw.g[G_UPSTREAM_CONNECTIONS] += 1
        self.gw.loop.create_task(self._connect(x, x.serial))
        return 0

    async def _connect(self, Exchange x not None, uint64_t serial):
        """Make one connection for x; if x is gone by then, it serves the next waiter or becomes idle."""
        cdef Gateway gw = self.gw
        cdef Upstream u
        cdef int kind
        options = {"ssl": self.tls, "server_hostname": self.server_name} if self.tls is not None else {}
        try:
            _, protocol = await asyncio.wait_for(
                gw.loop.create_connection(lambda: Upstream(self), self.host, self.port, **options),
                gw.t_connect / 1000,
            )
        except (OSError, asyncio.TimeoutError, ssl_module.CertificateError) as error:
            gw.g[G_UPSTREAM_CONNECT_ERRORS] += 1
            self.closed()
            if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
                kind = E_TIMEOUT
            elif isinstance(error, socket_module.gaierror):
                kind = E_DNS
            else:
                kind = E_TLS if isinstance(error, ssl_module.SSLError) else E_CONNECT
            if x.serial == serial and x.stage == X_CONNECT:
                x.upstream_failed(kind, error)
            self.next_waiter()
            return
        u = <Upstream>protocol
        gw.g[G_UPSTREAM_CONNECTS] += 1
        u.counted = not u.lost
        if u.lost:
            self.closed()
            if x.serial == serial and x.stage == X_CONNECT:
                x.upstream_failed(E_RESET, None)
            self.next_waiter()
        elif x.serial == serial and x.stage == X_CONNECT:
            u.attach(x)
        else:
            self.hand_on(u)

    cdef int hand_on(self, Upstream u) except -1:
        """A connection without an exchange: to the first waiter, or to the idle ones, or away."""
        cdef Gateway gw = self.gw
        cdef Exchange x
        while self.waiters:
            x, serial = self.waiters.popleft()
            gw.g[G_UPSTREAM_WAITERS] -= 1
            if x.serial == <uint64_t>serial and x.stage == X_CONNECT:
                return u.attach(x)
        if gw.draining or len(self.idle) >= gw.max_idle:
            return u.abort()
        self.idle.append(u)
        gw.g[G_UPSTREAM_IDLE] += 1
        gw.wheel.set(u, gw.t_up_idle)
        return 0

    cdef int next_waiter(self) except -1:
        """A place became free: connect for the first exchange that still waits."""
        cdef Exchange x
        while self.waiters and self.open < self.gw.max_origin:
            x, serial = self.waiters.popleft()
            self.gw.g[G_UPSTREAM_WAITERS] -= 1
            if x.serial == <uint64_t>serial and x.stage == X_CONNECT:
                return self.connect_for(x)
        return 0

    cdef int closed(self) except -1:
        """A connection, or the attempt at one, is no more."""
        self.open -= 1
        self.gw.g[G_UPSTREAM_CONNECTIONS] -= 1
        return 0

    cdef int forget(self, Exchange x) except -1:
        """An exchange does not wait any longer."""
        cdef object place = (x, x.serial)
        if place in self.waiters:
            self.waiters.remove(place)
            self.gw.g[G_UPSTREAM_WAITERS] -= 1
        return 0

    def close_idle(self):
        """Close every idle connection."""
        cdef Upstream u
        cdef list idle = self.idle
        self.idle = []
        for u in idle:
            self.gw.g[G_UPSTREAM_IDLE] -= 1
            u.abort()
