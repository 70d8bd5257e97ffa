"""What is wrong with a user's file, in a form that every part of the gateway reports alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark about one place in one file.

    ``path`` is a JSON path such as ``$.proxy.listen_path``; it is empty when the remark is about the
    whole file. ``message`` says what was found and what was expected, ``suggestion`` what to do.
    """

    severity: Severity
    file: str
    path: str
    message: str
    suggestion: str = ""

    def render(self) -> str:
        """Return one line: ``FILE: PATH: severity: message. suggestion``."""
        place = f"{self.file}: {self.path}" if self.path else self.file
        text = f"{place}: {self.severity}: {self.message.rstrip('.')}."
        return f"{text} {self.suggestion}" if self.suggestion else text
