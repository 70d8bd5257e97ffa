"""Secret references in the text of a definition file (tyk-core 1.1, 2.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from core.findings import Finding

_KNOWN = re.compile(rb"(env|secrets)://([A-Za-z0-9_.-]+)")
_FOREIGN = re.compile(rb'"(consul|vault|file|kv)://[^"]{0,200}|\$kv\{')


def substitute(
    raw: bytes, file: str, environ: Mapping[str, str], secrets: Mapping[str, str]
) -> tuple[bytes, list[Finding]]:
    """Fill in ``env://NAME`` and ``secrets://key``, escaped for JSON.

    A reference to nothing is an error: an empty secret in its place could open what it should protect.
    """
    findings: list[Finding] = []
    if b"://" not in raw and b"$kv{" not in raw:
        return raw, findings
    foreign = _FOREIGN.search(raw)
    if foreign:
        kind = (foreign[1] or b"kv").decode()
        message = f"references of the kind {kind}:// are not supported by this build"
        findings.append(Finding("error", file, "", message, "Use env:// or secrets://."))

    def value(match: re.Match[bytes]) -> bytes:
        kind, name = match[1].decode(), match[2].decode()
        found = (environ if kind == "env" else secrets).get(name)
        if found is None:
            where = "in the environment" if kind == "env" else "in secrets of tyk.conf"
            findings.append(Finding("error", file, "", f"{kind}://{name}: there is no {name} {where}"))
            return b""
        return json.dumps(found)[1:-1].encode()

    return _KNOWN.sub(value, raw), findings
