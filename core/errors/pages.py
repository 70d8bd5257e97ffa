"""Error pages: which template answers a request, read from ``template_path``.

Source: tyk-core 3.3. The lookup is ``error_<status>.<ext>``, ``error.<ext>``, ``error.json``; ``ext`` is xml
when the request's Content-Type, without its parameters, is an XML type.
"""

from __future__ import annotations

import logging
import re
import time
from pathlib import Path

from core.errors.templates import Kind, Page, TemplateError
from core.findings import Finding

log = logging.getLogger("preforge")

JSON_TYPE = b"application/json"
XML_TYPES = frozenset((b"application/xml", b"text/xml", b"application/soap+xml"))
MAX_TEMPLATE_BYTES = 1 << 16
CACHE_ENTRIES = 1024
CACHE_MESSAGE_CHARS = 512
REPORT_SECONDS = 10.0

_FILE = re.compile(r"error(?:_(?P<status>[1-5][0-9][0-9]))?\.(?P<ext>json|xml)")
_BUILT_IN: dict[Kind, Page] = {
    "json": Page('{\n    "error": "{{.Message}}"\n}', "error.json", "json"),
    "xml": Page('<?xml version = "1.0" encoding = "UTF-8"?>\n<error>{{.Message}}</error>\n', "error.xml", "xml"),
}


class ErrorPages:
    """The pages of one ``template_path``; read once, immutable afterwards except for the cache.

    ``findings`` holds one warning per template that cannot be used: its place is taken by the built-in
    page, so that a request never fails because of a page. An empty path means built-in pages only.
    """

    def __init__(self, template_path: str = "") -> None:
        self.findings: list[Finding] = []
        self._pages: dict[tuple[str, Kind], Page] = {}
        self._reported_at = -REPORT_SECONDS
        self._cache: dict[tuple[int, str, bytes], tuple[bytes, bytes]] = {}
        if template_path:
            self._read(Path(template_path))

    def render(self, status: int, message: str, request_content_type: bytes = b"") -> tuple[bytes, bytes]:
        """Return (content type, body) of the answer to a request with this Content-Type."""
        asked = _media_type(request_content_type) if request_content_type else JSON_TYPE
        key = (status, message, asked)
        found = self._cache.get(key)
        if found is not None:
            return found
        page, content_type = self._choose(status, asked)
        try:
            answer = (content_type, page.render(status, message))
        except TemplateError as error:
            self._failed(error)
            answer = (content_type, _BUILT_IN["json" if content_type == JSON_TYPE else "xml"].render(status, message))
        if len(message) <= CACHE_MESSAGE_CHARS:
            if len(self._cache) >= CACHE_ENTRIES:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = answer
        return answer

    def _choose(self, status: int, asked: bytes) -> tuple[Page, bytes]:
        lookup: list[tuple[str, Kind, bytes]] = [(str(status), "json", JSON_TYPE), ("", "json", JSON_TYPE)]
        if asked != JSON_TYPE:
            lookup[:1] = [(str(status), "xml", asked), ("", "xml", asked)]
        for name, kind, content_type in lookup:
            page = self._pages.get((name, kind))
            if page is not None:
                return page, content_type
        return (_BUILT_IN["json"], JSON_TYPE) if asked == JSON_TYPE else (_BUILT_IN["xml"], asked)

    def _read(self, directory: Path) -> None:
        try:
            files = sorted(directory.iterdir())
        except OSError as error:
            self._warn(str(directory), f"the directory cannot be read ({error.strerror})", "template_path")
            return
        for file in files:
            match = _FILE.fullmatch(file.name)
            if match is None:
                continue
            kind: Kind = "xml" if match["ext"] == "xml" else "json"
            self._pages[match["status"] or "", kind] = self._page(file, kind) or _BUILT_IN[kind]

    def _page(self, file: Path, kind: Kind) -> Page | None:
        try:
            with file.open("rb") as stream:
                raw = stream.read(MAX_TEMPLATE_BYTES + 1)
            if len(raw) > MAX_TEMPLATE_BYTES:
                self._warn(str(file), f"the template is larger than {MAX_TEMPLATE_BYTES} bytes")
                return None
            return Page(raw.decode(), file.name, kind)
        except OSError as error:
            self._warn(str(file), f"the template cannot be read ({error.strerror})")
        except UnicodeDecodeError:
            self._warn(str(file), "the template is not UTF-8")
        except TemplateError as error:
            self._warn(str(file), str(error))
        return None

    def _failed(self, error: TemplateError) -> None:
        now = time.monotonic()
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            log.error("an error page cannot be used for this answer, the built-in one takes its place: %s", error)

    def _warn(self, file: str, message: str, path: str = "") -> None:
        self.findings.append(
            Finding("warning", file, path, message, "The built-in error page is used in its place.")
        )


def _media_type(value: bytes) -> bytes:
    """One of XML_TYPES, or JSON_TYPE for everything else."""
    media = value.partition(b";")[0].strip().lower()
    return media if media in XML_TYPES else JSON_TYPE
