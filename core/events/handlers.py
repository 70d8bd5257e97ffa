"""Reads event_handlers, of tyk.conf and of definitions, and the web hook of monitor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from core.apidef.event_scripts import HANDLER
from core.apidef.plugins import HANDLER as PLUGIN_HANDLER
from core.events.event import KEY_EVENTS, TOKEN_EVENTS, TRIGGER
from core.events.settings import EventSettings
from core.events.templates import HookTemplates
from core.events.webhook import METHODS, WebHook, request_headers
from core.findings import Finding
from core.plugins.events import PluginHandler
from core.scripts.events import ScriptHandler

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")
_TARGET = re.compile(r"[^\x00-\x20\x7f]+")
_OF_CONNECTION = frozenset(("connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade"))
_OF_APIS = {HANDLER: "run scripts", PLUGIN_HANDLER: "reach plugins"}
_KNOWN = ("eh_log_handler", "eh_web_hook_handler", *_OF_APIS)


@dataclass(frozen=True, slots=True)
class LogHandler:
    """Writes a line to the log."""

    prefix: str


CodeHandler = ScriptHandler | PluginHandler
Handler = LogHandler | WebHook | CodeHandler
Handlers = Mapping[str, Sequence[Handler]]     # by the name of the event
CodeHandlers = Mapping[tuple[str, int], CodeHandler]    # by the name of the event and the position in its list


class HandlerReader:
    """Reads handlers; what cannot be used is reported and left out."""

    def __init__(self, settings: EventSettings) -> None:
        self.findings: list[Finding] = []
        self._settings = settings
        self._templates = HookTemplates(settings.template_path, self.findings)

    def read(
        self, events: Any, file: str, path: str, *, fired: frozenset[str], code: CodeHandlers | None = None
    ) -> Handlers:
        """events: event name -> list of {handler_name, handler_meta}; fired: names that are fired for this place; code:
        scripts and plugins that can be called, whoever compiled them has reported the others; None where there can be none."""
        found: dict[str, Sequence[Handler]] = {}
        for name, entries in self._map(events, file, path, "an object with the names of events").items():
            field = f"{path}[{name!r}]"
            if name not in fired:
                text = f"{name} is not fired here, expected one of {', '.join(sorted(fired))}"
                self._warn(file, field, text)
            if entries is not None and not isinstance(entries, list):
                self._error(file, field, "expected a list of handlers")
                continue
            handlers = [
                self._handler(entry, file, f"{field}[{at}]")
                if code is None or not _is_code(entry) else code.get((name, at))
                for at, entry in enumerate(entries or ())
            ]  # fmt: skip
            used = tuple(handler for handler in handlers if handler is not None)
            if used:
                found[name] = used
        return found

    def _handler(self, entry: Any, file: str, path: str) -> Handler | None:
        fields = self._map(entry, file, path, "an object with handler_name and handler_meta")
        if not fields:
            return None
        name = fields.get("handler_name", "")
        meta = self._map(fields.get("handler_meta"), file, f"{path}.handler_meta", "an object")
        if name == "eh_log_handler":
            prefix = meta.get("prefix", "")
            if not isinstance(prefix, str):
                self._error(file, f"{path}.handler_meta.prefix", "expected a text")
                prefix = ""
            return LogHandler(prefix)
        if name == "eh_web_hook_handler":
            return self.web_hook(meta, file, f"{path}.handler_meta")
        if isinstance(name, str) and name in _OF_APIS:
            message = f"{name} is not supported here, as in Tyk (Handler not found)"
            self._error(file, f"{path}.handler_name", f"{message}: only event_handlers of an API {_OF_APIS[name]}")
        else:
            expected = ", ".join(_KNOWN)
            self._error(file, f"{path}.handler_name", f"unknown handler {name!r}, expected one of {expected}")
        return None

    def web_hook(self, meta: Mapping[str, Any], file: str, path: str) -> WebHook | None:
        """Read a web hook; None if it is disabled or cannot be used."""
        if meta.get("disabled") is True:
            return None
        texts: dict[str, str] = {}
        for name in ("method", "target_path", "template_path"):
            value = meta.get(name)
            if value is not None and not isinstance(value, str):
                self._error(file, f"{path}.{name}", "expected a text")
                return None
            texts[name] = value or ""
        target = self._target(texts["target_path"], file, f"{path}.target_path")
        cooldown = meta.get("event_timeout") or 0
        if type(cooldown) is not int or cooldown < 0:
            self._error(file, f"{path}.event_timeout", "expected a number of seconds, 0 or more")
            cooldown = 0
        headers = self._headers(meta.get("header_map"), file, f"{path}.header_map")
        if target is None or headers is None:
            return None
        method = texts["method"].upper()
        if method not in METHODS:
            self._warn(file, f"{path}.method", f"{texts['method']!r} is none of {', '.join(sorted(METHODS))}; GET is used")
            method = "GET"
        template = self._templates.get(texts["template_path"], file, f"{path}.template_path")
        return WebHook(method, target, template, request_headers(template.json, headers), cooldown)

    def _target(self, text: str, file: str, path: str) -> str | None:
        try:
            url = urlsplit(text)
            valid = url.scheme in ("http", "https") and url.hostname and url.port != 0 and _TARGET.fullmatch(text)
        except ValueError:
            valid = None
        if not valid:
            self._error(file, path, f"{text!r} is not an absolute http or https URL, no hook is sent")
            return None
        # A host that is an address is checked here, a name when it is looked up.
        host = url.hostname or ""
        if _is_address(host) and self._settings.blocks(host):
            self._error(file, path, f"{host} is in a network of preforge.events.blocked_networks, no hook is sent")
            return None
        return text

    def _headers(self, value: Any, file: str, path: str) -> dict[str, str] | None:
        if value is not None and not isinstance(value, dict):
            self._error(file, path, "expected an object of names and texts")
            return None
        headers: dict[str, str] = value or {}
        for name, text in headers.items():
            if not isinstance(text, str) or _VALUE.fullmatch(text) is None:
                self._error(file, f"{path}[{name!r}]", "expected a text that a header can carry")
                return None
            if _NAME.fullmatch(name) is None or name.lower() in _OF_CONNECTION:
                self._error(file, f"{path}[{name!r}]", "this header cannot be set")
                return None
        return headers

    def _map(self, value: Any, file: str, path: str, expected: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._error(file, path, f"expected {expected}")
            return {}
        return value

    def _error(self, file: str, path: str, message: str) -> None:
        self.findings.append(Finding("error", file, path, message))

    def _warn(self, file: str, path: str, message: str) -> None:
        self.findings.append(Finding("warning", file, path, message))


def system_events(reader: HandlerReader, event_handlers: Any, old_form: Any, file: str) -> Handlers:
    """The handlers of tyk.conf: event_handlers.events, else the old event_trigers_defunct (event name -> handlers)."""
    handlers = event_handlers.get("events") if isinstance(event_handlers, dict) else event_handlers
    if handlers is not None or not isinstance(old_form, dict):
        return reader.read(handlers, file, "$.event_handlers.events", fired=TOKEN_EVENTS)
    entries = {
        name: [
            {"handler_name": entry.get("handler_name", entry.get("handler")), "handler_meta": entry.get("handler_meta")}
            if isinstance(entry, dict) else entry
            for entry in handlers
        ]
        if isinstance(handlers, list) else handlers
        for name, handlers in old_form.items()
    }  # fmt: skip
    return reader.read(entries, file, "$.event_trigers_defunct", fired=TOKEN_EVENTS)


def _is_code(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("handler_name") in (HANDLER, PLUGIN_HANDLER)


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


__all__ = [
    "KEY_EVENTS", "TRIGGER", "CodeHandlers", "Handler", "HandlerReader", "Handlers", "LogHandler", "PluginHandler",
    "ScriptHandler", "system_events",
]  # fmt: skip
