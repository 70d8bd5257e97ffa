"""The API that a script is tried in: a definition as a user would write it, read and compiled as the gateway does."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.apidef.decode import decode
from core.apidef.options import ReadOptions, from_config
from core.apidef.read import Loading
from core.apidef.script_files import is_script
from core.apidef.scripts import VirtualSpec, script_paths
from core.apidef.specs import PlanSpec
from core.findings import Finding
from core.scripts.trial_case import Case, TrialError

API = "js-test"     # how the API is called in logs
WITH_SESSION = "_with_session"
_WORD = r"(?:[^\W\d]|\$)[\w$]*"
_COMMENT = re.compile(r"/\*.*?\*/|^[ \t]*//[^\n]*", re.DOTALL | re.MULTILINE)
_MIDDLEWARE = re.compile(rf"(?<![\w$.\]])({_WORD}(?:\.{_WORD})*)\s*=\s*new\s+(?:{_WORD}\s*\.\s*)*NewMiddleware\b")
_FUNCTION = re.compile(
    rf"^(?:async\s+)?function\s+({_WORD})|^(?:(?:var|let|const)\s+)?({_WORD})\s*=\s*(?:async\b\s*)?(?:function\b|\(|{_WORD}\s*=>)",
    re.MULTILINE,
)


def find_name(file: str, hook: str) -> tuple[str, str]:
    """The name of the object or function of a script, and why it is that. Raises TrialError if that is not clear."""
    try:
        text = _COMMENT.sub(" ", Path(file).read_bytes().decode("utf-8-sig", "replace"))
    except OSError as error:
        raise TrialError(f"{file}: the script cannot be read: {error.strerror}") from None
    base = Path(file).name.partition(".")[0]
    if hook == "virtual":
        what, made = "function", dict.fromkeys(match[1] or match[2] for match in _FUNCTION.finditer(text))
    else:
        what, made = "NewMiddleware", dict.fromkeys(match[1] for match in _MIDDLEWARE.finditer(text))
    if base in made:
        return base, "the name of the file"
    if len(made) == 1:
        return next(iter(made)), f"the only {what} of the file"
    if re.fullmatch(_WORD, base) and re.search(rf"(?<![\w$]){re.escape(base)}(?![\w$])", text):
        return base, "the name of the file"
    if made:
        raise TrialError(f"{file}: expected --name, since the file has several: {', '.join(made)}")
    raise TrialError(f"{file}: expected --name, since there is no {what} in the file and nothing is called {base}")


def compile_case(
    case: Case, config: Any, conf: str, environ: Mapping[str, str] | None = None
) -> tuple[PlanSpec, list[Finding]]:
    """The API with the script as its only one, and what was noticed about it. conf: path of tyk.conf, "" for none. Raises
    TrialError."""
    for path in (case.file, case.library):
        if path and not Path(path).is_file():
            raise TrialError(f"{path}: expected the path of a script, there is no such file")
    if case.hook != "virtual" and not is_script(case.file):
        raise TrialError(f"{case.file}: expected the path of a script, whose name ends with .js")
    options = _options(case, config, conf, environ)
    loading, findings = Loading.begin(options, None)
    raw = json.dumps(_definition(case)).encode()
    definition, found = decode(raw, case.file)
    if definition is None:
        raise TrialError("\n".join(finding.message for finding in found))
    scripts = loading.script_set(API, script_paths(definition), None)
    spec, noticed = loading.compile(definition, case.file, scripts, None)
    findings += noticed
    if spec is None or spec.scripts is None:
        raise TrialError("\n".join(finding.message for finding in findings if finding.severity == "error"))
    problems = [hook.problem for hook in spec.scripts.hooks]
    problems += [entry.data.problem for entry in spec.endpoints if isinstance(entry.data, VirtualSpec)]
    if any(problems):
        raise TrialError("\n".join(problems))
    return spec, findings


def _options(case: Case, config: Any, conf: str, environ: Mapping[str, str] | None) -> ReadOptions:
    """Those of the configuration, but scripts run."""
    options = from_config(config, os.environ if environ is None else environ, conf)
    compiling = replace(options.compile, enable_jsvm=True)
    library = case.library or options.tyk_js_path
    return replace(options, compile=compiling, tyk_js_path=library, middleware_path="", fetch_bundles=False)


def _definition(case: Case) -> dict[str, Any]:
    scripts: dict[str, Any] = {"driver": "otto"}
    paths: dict[str, Any] = {}
    asks = case.session is not None
    if case.hook == "virtual":
        paths["virtual"] = [
            {"response_function_name": case.name, "function_source_type": "file", "function_source_uri": case.file,
             "path": "/", "method": "GET", "use_session": asks}
        ]  # fmt: skip
    else:
        hook = {"name": case.name, "path": case.file, "require_session": asks or case.name.endswith(WITH_SESSION)}
        scripts[case.hook] = hook if case.hook == "auth_check" else [hook]
    version = {"name": "Default", "use_extended_paths": True, "extended_paths": paths}
    found = {
        "api_id": API,
        "name": API,
        "active": True,
        "custom_plugin_auth_enabled": case.hook == "auth_check",
        "proxy": {"listen_path": "/", "target_url": "http://localhost/"},
        "version_data": {"not_versioned": True, "versions": {"Default": version}},
        "custom_middleware": scripts,
    }
    return found if case.config_data is None else {**found, "config_data": case.config_data}
