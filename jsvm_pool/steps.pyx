"""Hooks and virtual endpoints: the way of most requests and results, see steps.pxd."""

from accel.sniff import detect

import orjson

from cpython.bytes cimport PyBytes_GET_SIZE

from accel.edits cimport FieldNames, RequestEditor, field_value, utf8
from accel.http1 cimport Exchange
from jsvm_pool.envelope cimport script_payload
from jsvm_pool.pool cimport CallResult, Hook, Receiver

cdef enum:
    MOST_TAILS = 256
    SNIFFED = 512           # bytes of a body that tell its type

cdef object loads = orjson.loads
cdef tuple SERVER = (b"Server", b"tyk")         # tyk-jsvm 10.1: clients of Tyk know its forced responses by it


cdef inline bint has_query(Exchange x):
    return PyBytes_GET_SIZE(x.query if x.view is None else x.view.query) > 0


cdef class ScriptStep:
    """What hooks and virtual endpoints have in common. Python classes that inherit it have the methods that follow."""

    def allowed(self, Exchange x not None):
        """Whether the script is to be called; if it is not, the request has been refused or goes on. Asked unless `always`."""
        raise NotImplementedError

    def place(self, Exchange x not None):
        """JSON of the API's version, the path of the entry that the request meets and the values of its variables."""
        raise NotImplementedError

    def session(self, Exchange x not None):
        """JSON of the session that the script sees, with `real_session`."""
        raise NotImplementedError

    def params(self, Exchange x not None):
        """JSON of the parameters of a request that has some."""
        raise NotImplementedError

    def ended(self, Exchange x not None, object serial, object result):
        """Apply a result that is not as most are."""
        raise NotImplementedError

    def broken(self, Exchange x not None, object serial):
        """Refuse a request whose result could not be applied, inside an except clause."""
        raise NotImplementedError

    cdef int take(self, object script) except -1:
        if type(script) is Hook:
            self.hook = <Hook>script
        elif script is not None:
            self.call = script.call
        return 0

    cdef bint begin(self, Exchange x, bytes params, bint hostless) except -1:
        """Call the script."""
        cdef bytes session = <bytes>self.session(x) if self.real_session else b"0"
        cdef bytes tail = <bytes>self.tails.get(x.version) if self.anywhere else None
        cdef Waiting waiting
        if tail is None:
            tail = <bytes>self.place(x)
            if self.anywhere and len(self.tails) < MOST_TAILS:
                self.tails[x.version] = tail
        waiting = Waiting.__new__(Waiting)
        waiting.step, waiting.x, waiting.serial = self, x, x.serial
        payload = script_payload(x, params, session, tail, x.body if x.body is not None else b"", None, hostless)
        if self.hook is not None:
            self.hook.pool.submit(self.hook, payload, waiting)
        else:
            self.call(payload, waiting)
        return True

    cdef bint apply(self, Exchange x, str kind, bytes text, bint edits) except -1:
        """Apply a result as most are. False, with nothing done, for others."""
        raise NotImplementedError

    cdef int returned(self, Waiting waiting, str kind, bytes text, str error, bint edits) except -1:
        """The script has ended, and the request still waits for it."""
        cdef bint done
        try:
            done = self.apply(waiting.x, kind, text, edits)
        except Exception:
            self.broken(waiting.x, waiting.serial)
            return 0
        if done:
            waiting.x.resume(waiting.serial)
        else:
            self.ended(waiting.x, waiting.serial, CallResult(kind, text, error, edits))
        return 0


cdef class HookStep(ScriptStep):
    """A hook that sees requests; a WaitStep calls it."""

    def __init__(self, object script, RequestEditor editor not None, *, bint always, bint real_session, bint anywhere,
                 bint plain):
        """script: has `call`, None where it cannot run; always: it is called for each request; real_session: it sees the session of the key; anywhere: it is told the same place for all paths of a
        version; plain: nothing that it returns has to be stored."""
        self.take(script)
        self.editor = editor
        self.always = always
        self.real_session = real_session
        self.anywhere = anywhere
        self.plain = plain
        self.tails = {}

    def __call__(self, Exchange x not None):
        if not self.always and not self.allowed(x):
            return False
        return self.begin(x, <bytes>self.params(x) if has_query(x) else b"0", False)

    cdef bint apply(self, Exchange x, str kind, bytes text, bint edits) except -1:
        return self.plain and edits and self.edit(x, text)

    cdef bint edit(self, Exchange x, bytes text) except -1:
        """Apply a result that only edits headers and parameters (runtime/run.js: edits). False, with nothing changed, if it is
        not what it should be."""
        cdef bytes query = x.query
        try:
            found = loads(text)
        except ValueError:              # halves of surrogate pairs, for one
            return False
        if type(found) is not list or len(found) != 4:
            return False
        sets, deletes, added, meta = found
        if type(sets) is not dict or type(deletes) is not list or type(added) is not dict or \
                meta is not None and type(meta) is not dict:
            return False
        for one in (<dict>added).values():
            if type(one) is not str:
                return False
        if added:
            query = self.editor.query(query, [], <dict>added)
        if not self.editor.headers(x, (<dict>sets).items(), <list>deletes):
            return False
        if query is not x.query and query != x.query:
            x.set_url(x.path, query, x.route_end)
        return True


cdef class VirtualStep(ScriptStep):
    """A virtual endpoint, the data of a path entry."""

    reads_body = True       # see accel.http1.PathStep

    def __init__(self, object script not None, FieldNames names not None, object worker not None, *, bint always,
                 bint real_session, bint anywhere):
        """worker: has rates_in_headers; for all else see HookStep."""
        self.take(script)
        self.names = names
        self.worker = worker
        self.always = always
        self.real_session = real_session
        self.anywhere = anywhere
        self.tails = {}

    def run(self, Exchange x not None):
        """Start the script; what a PathStep calls."""
        if not self.always and not self.allowed(x):
            return False
        return self.begin(x, <bytes>self.params(x) if has_query(x) or x.body else b"0", True)

    cdef bint apply(self, Exchange x, str kind, bytes text, bint edits) except -1:
        return not self.real_session and text is not None and kind == "ok" and self.answer(x, text)

    cdef bint answer(self, Exchange x, bytes text) except -1:
        """Answer as most scripts do: status, body and a few fields, each a text. False, with nothing done, for others."""
        cdef list fields = [SERVER]
        cdef bytes key, value, body = b""
        cdef long code = 200
        cdef bint typed = False
        try:
            found = loads(text)
        except ValueError:
            return False
        if type(found) is not dict:
            return False
        for name, one in (<dict>found).items():
            if not (name == "SessionMeta" and (one is None or type(one) is dict) or name == "Response" and type(one) is dict):
                return False
        response = (<dict>found).get("Response")
        if response is None:
            return False
        for name, one in (<dict>response).items():
            if name == "Code" and type(one) is int and 200 <= one <= 599:
                code = one
            elif name == "Body" and type(one) is str:
                body = utf8(<str>one)
                if body is None:
                    return False
            elif name == "Headers" and type(one) is dict:
                for field, line in (<dict>one).items():
                    if type(line) is not str:
                        return False
                    key, value = self.names.find(<str>field), field_value(<str>line)
                    if key is None or value is None:
                        return False
                    if key:
                        fields.append((key, value))
                        key = key.lower()
                        typed = typed or key == b"content-type" or key == b"content-encoding"
            else:
                return False
        if code == 301 or code == 302:      # it may lead to tyk://
            return False
        if body and not typed and code != 204 and code != 304:
            fields.append((b"Content-Type", detect(body[:SNIFFED])))
        if not self.worker.rates_in_headers:
            x.limits_known = True
            x.limit_max = x.limit_left = x.limit_reset = 0
        x.respond(code, fields, body)
        return True


def run_virtual(Exchange x not None, VirtualStep endpoint not None):
    """What the PathStep of virtual endpoints calls."""
    return endpoint.run(x)


cdef class Waiting(Receiver):
    cdef int received(self, str kind, bytes text, str error, bint edits) except -1:
        if self.x.waits(self.serial):
            self.step.returned(self, kind, text, error, edits)
        return 0

    def __call__(self, object result not None):
        """The same for scripts that are not of the pool."""
        if self.x.waits(self.serial):
            self.step.ended(self.x, self.serial, result)
