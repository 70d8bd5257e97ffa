"""Templates of web hooks: files of the user, and our own for those that are not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.events.event import Event
from core.findings import Finding
from core.gotemplate import Template, TemplateError, parse

MAX_TEMPLATE_BYTES = 1 << 16

# The fields of one event differ from those of another, and a field that an event does not have is an error.
_GENERIC = (
    '{"event": "{{.Type}}", "message": "{{.Meta.Message}}", "path": "{{.Meta.Path}}",'
    ' "origin": "{{.Meta.Origin}}", "key": "{{.Meta.Key}}"}'
)
_TOKEN = '{"event": "{{.Type}}", "message": "{{.Meta.Message}}", "org": "{{.Meta.Org}}", "key": "{{.Meta.Key}}"}'
_TRIGGER = (
    '{"event": "{{.Type}}", "message": "{{.Meta.Message}}", "org": "{{.Meta.OrgID}}", "key": "{{.Meta.Key}}",'
    ' "trigger_limit": "{{.Meta.TriggerLimit}}"}'
)
_BREAKER = '{"event": "{{.Type}}", "message": "{{.Meta.Message}}", "api_id": "{{.Meta.APIID}}", "path": "{{.Meta.Path}}"}'
DEFAULT = "default_webhook.json"
BUILT_IN: Mapping[str, str] = {
    DEFAULT: (
        f'{{{{if eq .Type "TriggerExceeded"}}}}{_TRIGGER}'
        f'{{{{else if eq .Type "TokenCreated" "TokenUpdated" "TokenDeleted"}}}}{_TOKEN}'
        f'{{{{else if eq .Type "BreakerTriggered" "BreakerTripped" "BreakerReset"}}}}{_BREAKER}'
        f"{{{{else}}}}{_GENERIC}{{{{end}}}}"
    ),
    "breaker_webhook.json": _BREAKER,
    "monitor_template.json": _TRIGGER,
}


@dataclass(frozen=True, slots=True)
class HookTemplate:
    """json: whether bodies are sent as application/json."""

    template: Template
    json: bool

    def body(self, event: Event) -> bytes:
        """The body of a request. Raises TemplateError."""
        return self.template.execute(event.data()).encode("utf-8", "replace")


class HookTemplates:
    """Reads each file once per configuration. template_path: the directory of tyk.conf."""

    def __init__(self, template_path: str, findings: list[Finding]) -> None:
        self._directory = template_path
        self._findings = findings
        self._known: dict[str, HookTemplate | None] = {}

    def get(self, path: str, file: str, field: str) -> HookTemplate:
        """The template of a handler; "" is the default. What cannot be used is reported, and the default takes its place."""
        if path:
            found = self._read(path, file, field)
            if found is not None:
                return found
        if self._directory and (Path(self._directory) / DEFAULT).exists():
            found = self._read(str(Path(self._directory) / DEFAULT), "tyk.conf", "$.template_path")
            if found is not None:
                return found
        return self._built_in(DEFAULT)

    def _read(self, path: str, file: str, field: str) -> HookTemplate | None:
        if path not in self._known:
            self._known[path] = self._load(Path(path), file, field)
        return self._known[path]

    def _load(self, path: Path, file: str, field: str) -> HookTemplate | None:
        if not path.exists() and path.name in BUILT_IN:
            return self._built_in(path.name)
        try:
            with path.open("rb") as stream:
                raw = stream.read(MAX_TEMPLATE_BYTES + 1)
            if len(raw) > MAX_TEMPLATE_BYTES:
                raise ValueError(f"it is larger than {MAX_TEMPLATE_BYTES} bytes")
            json = path.suffix == ".json"
            return HookTemplate(parse(raw.decode(), str(path), mode="html-json" if json else "html"), json)
        except OSError as error:
            why = f"the template {str(path)!r} cannot be read ({error.strerror})"
        except UnicodeDecodeError:
            why = f"the template {str(path)!r} is not UTF-8"
        except TemplateError as error:
            why = f"the template cannot be used: {error}"
        except ValueError as error:
            why = f"the template {str(path)!r} cannot be used: {error}"
        self._findings.append(Finding("error", file, field, why, "The default template is used in its place."))
        return None

    def _built_in(self, name: str) -> HookTemplate:
        key = f"\0{name}"
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = HookTemplate(parse(BUILT_IN[name], name, mode="html-json"), True)
        return found
