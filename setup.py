"""Build of the Cython extensions and of the plugin messages; everything else is in pyproject.toml."""

import os
import re
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
PROTO = ROOT / "coprocess" / "proto"
SERVICE = "coprocess_object.proto"
PACKAGES = ("accel", "jsvm_pool", "coprocess", "bench")
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "cdivision": True,
    "embedsignature": True,
}


def extensions() -> list[Extension]:
    """One extension per .pyx file; .pxi files are included by their unit."""
    sources = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.pyx"))]
    return [
        Extension(
            ".".join(source.relative_to(ROOT).with_suffix("").parts),
            [str(source.relative_to(ROOT))],
            depends=[
                str(p.relative_to(ROOT))
                for p in (*source.parent.glob("*"), *source.parents[1].glob("*.pxd"))
                if p.suffix in {".pxd", ".pxi", ".h"}
            ],
            include_dirs=[str(source.parent.relative_to(ROOT))],
            extra_compile_args=["-O3", "-g1", "-fno-semantic-interposition", "-Wno-unreachable-code"],
        )
        for source in sources
    ]


def generate_messages() -> None:
    """Write coprocess/proto/*_pb2*.py unless they are newer than what they are made from.

    The .proto files import each other by their bare names, as those do that plugins are built with; the modules belong to
    a package, so their imports are rewritten.
    """
    sources = sorted(PROTO.glob("*.proto"))
    made = [PROTO / f"{source.stem}_pb2{end}" for source in sources for end in (".py", ".pyi")]
    made.append(PROTO / f"{Path(SERVICE).stem}_pb2_grpc.py")
    described = PROTO / "messages.desc"  # for interpreters whose protobuf is older than the generated code
    newest = max(path.stat().st_mtime for path in (*sources, ROOT / "setup.py"))
    if all(path.is_file() and path.stat().st_mtime >= newest for path in (*made, described)):
        return
    from grpc_tools import protoc  # noqa: PLC0415 - needed only when there is something to make

    names = [source.name for source in sources]
    for options in (
        [f"--python_out={PROTO}", f"--pyi_out={PROTO}", f"--descriptor_set_out={described}", *names],
        [f"--grpc_python_out={PROTO}", SERVICE],
    ):
        if protoc.main(["protoc", f"-I{PROTO}", *options]):
            raise SystemExit(f"the messages in {PROTO} could not be generated; the reason stands above")
    for path in made:
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"^import (coprocess_\w+)", r"from coprocess.proto import \1", text, flags=re.MULTILINE)
        path.write_text(text, encoding="utf-8")


generate_messages()
setup(
    ext_modules=cythonize(
        extensions(),
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
        annotate=bool(os.environ.get("PREFORGE_ANNOTATE")),
        nthreads=0,
    )
)
