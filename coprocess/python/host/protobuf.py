# ruff: noqa: PTH100, PTH118, PTH120 - pathlib would make each start longer
"""The protobuf package and Tyk's message modules, in whatever interpreter the host runs."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any

OLDEST = (3, 20)
MESSAGES = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "proto", "messages.desc"))


class ProtobufMissing(Exception):
    """The interpreter has no protobuf that can be used; the text says what to install."""


class Lent:
    """Finds the gateway's own protobuf package, and nothing else of the gateway's packages."""

    def __init__(self, root: str) -> None:
        self._google = os.path.join(root, "google")

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Of `google` and `google._upb` there is only the directory; `google.protobuf` is a package."""
        if name == "google.protobuf":
            home = os.path.join(self._google, "protobuf")
            return spec_from_file_location(name, os.path.join(home, "__init__.py"), submodule_search_locations=[home])
        if name in {"google", "google._upb"}:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [os.path.join(os.path.dirname(self._google), *name.split("."))]
            return spec
        return None


def provide(lent: str, needs: Sequence[int]) -> str:
    """Import protobuf and return its version: the interpreter's own, or the gateway's below `lent`, which needs a Python of
    version `needs`. Raises ProtobufMissing."""
    install = f"install protobuf >= {OLDEST[0]}.{OLDEST[1]} for {sys.executable}"
    try:
        package = importlib.import_module("google.protobuf")
    except ImportError as error:
        if not lent or sys.version_info[:2] < tuple(needs) or sys.implementation.name != "cpython":
            running = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"
            raise ProtobufMissing(f"{error}; the gateway's own does not run on {running}: {install}") from None
        sys.meta_path.append(Lent(lent))
        try:
            package = importlib.import_module("google.protobuf")
        except ImportError as failure:
            raise ProtobufMissing(f"{failure} (of the gateway's own protobuf): {install}") from None
    version = str(package.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise ProtobufMissing(f"protobuf {version} of {sys.executable} is too old: {install}")
    return version


def build_modules() -> None:
    """Make `coprocess_*_pb2` importable.

    The messages are built when the program runs, from what the build wrote down about them, so they go with every protobuf
    since 3.20; generated code goes only with that of its own age or newer.
    """
    pool = importlib.import_module("google.protobuf.descriptor_pool").Default()
    builder = importlib.import_module("google.protobuf.internal.builder")
    described = importlib.import_module("google.protobuf.descriptor_pb2").FileDescriptorSet()
    with open(MESSAGES, "rb") as file:
        described.ParseFromString(file.read())
    for one in described.file:
        pool.AddSerializedFile(one.SerializeToString())
        descriptor = pool.FindFileByName(one.name)
        name = _module_of(one.name)
        module = ModuleType(name)
        names = module.__dict__
        names["DESCRIPTOR"] = descriptor
        for other in map(_module_of, one.dependency):
            names[other[: -len("_pb2")].replace("_", "__") + "__pb2"] = sys.modules[other]
        builder.BuildMessageAndEnumDescriptors(descriptor, names)
        builder.BuildTopDescriptorsAndMessages(descriptor, name, names)
        sys.modules[name] = module


def _module_of(proto: str) -> str:
    return proto[: -len(".proto")] + "_pb2"


def message(module: str, name: str) -> Any:
    """A message class of one of the modules that build_modules() made."""
    return getattr(sys.modules[module], name)
