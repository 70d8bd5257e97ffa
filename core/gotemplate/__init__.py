"""Go's template language: text/template, and html/template's escaping for HTML, XML and JSON."""

from core.gotemplate.errors import FunctionError, TemplateError
from core.gotemplate.functions import BUILTINS, Function, Functions
from core.gotemplate.template import Limits, Mode, Template, parse
from core.gotemplate.values import Record

__all__ = [
    "BUILTINS", "Function", "FunctionError", "Functions", "Limits", "Mode", "Record", "Template", "TemplateError", "parse",
]  # fmt: skip
