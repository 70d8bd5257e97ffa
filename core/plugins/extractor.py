"""ID extractors: a client's identity out of its request, so that a plugin is not asked about it each time (tyk-plugins 4.3).

A value that several clients can share without knowing of it is none: an empty one, and a parameter that a request gives more
than once, because the plugin may believe another of them than the one that counts here. Of a header the first value counts, as
plugins see it.
"""

from __future__ import annotations

from collections.abc import Callable

from accel.capture import CaptureSearch
from accel.http1 import Exchange
from core.access.custom_keys import Extraction
from core.apidef.extractors import ExtractorSpec
from core.edits.query import parse
from core.plugins.extractor_xml import first

_FORM = b"application/x-www-form-urlencoded"
_WITH_FORMS = frozenset((b"POST", b"PUT", b"PATCH"))     # Go's Request.ParseForm reads the bodies of these


class Extractor:
    """One ID extractor at work."""

    def __init__(self, spec: ExtractorSpec, most: Callable[[], int], counts: Extraction) -> None:
        """most: bytes of a form, or of a text that an expression is applied to; in more nothing is found, which is counted."""
        self._spec = spec
        self._most = most
        self._search = CaptureSearch(spec.pattern) if spec.pattern else None
        self._counts = counts

    def __call__(self, x: Exchange) -> bytes:
        """The value of a request whose body is there, b"" if there is none."""
        spec = self._spec
        if spec.problem:
            return b""
        if spec.source == "header":
            found = x.header(spec.name.encode()) or b""
        elif spec.source == "body":
            found = x.body or b""
        else:
            found = self._parameter(x, form=spec.source == "form")
        if not found or spec.kind == "value":
            return found
        if not self._fits(found):
            return b""
        if spec.path is not None:
            return (first(found, spec.path) or "").encode("utf-8", "surrogatepass")
        return self._match(found)

    def _fits(self, text: bytes) -> bool:
        if len(text) <= self._most():
            return True
        self._counts.too_large += 1
        return False

    def _parameter(self, x: Exchange, *, form: bool) -> bytes:
        """The value of the parameter, which has to be the only one of its name in query and form."""
        name = self._spec.name.encode()
        places = [x.full_query]
        if form and x.method in _WITH_FORMS and _kind(x) == _FORM:
            body = x.body or b""
            if not self._fits(body):
                return b""
            places.append(body)
        values = [value for place in places for value in parse(place).get(name, ())]
        return values[0] if len(values) == 1 else b""

    def _match(self, text: bytes) -> bytes:
        """The match that counts, as Go's Regexp.FindAll numbers them: an empty one right behind another is none."""
        search = self._search
        at, left, before = 0, self._spec.index, -1
        while search is not None and at <= len(text):
            bounds = search.bounds(text, at)
            if bounds is None:
                break
            begin, end = bounds
            if begin != end or (begin != before and not _inside(text, begin)):
                if not left:
                    return text[begin:end]
                left -= 1
            at, before = (end if end > at else at + 1), end
        return b""


def _inside(text: bytes, at: int) -> bool:
    """Whether a place is inside a character of UTF-8, where nothing is empty."""
    return at < len(text) and text[at] & 0xC0 == 0x80


def _kind(x: Exchange) -> bytes:
    return (x.header(b"Content-Type") or b"").partition(b";")[0].strip().lower()
