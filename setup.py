"""Build of the Cython extensions; everything else is in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
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


setup(
    ext_modules=cythonize(
        extensions(),
        build_dir="build/cython",
        compiler_directives=DIRECTIVES,
        annotate=bool(os.environ.get("PREFORGE_ANNOTATE")),
        nthreads=0,
    )
)
