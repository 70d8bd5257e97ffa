"""`preforge bundle build`, with the flags of `tyk bundle build` (tyk-plugins 7.3)."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from coprocess.bundles import BundleError
from coprocess.bundles.build import build as make

_BUILD_TEXT = """Build a plugin bundle: a zip archive of the manifest and the files that it lists. Files are looked for
in the current directory. The manifest of the archive carries the checksums and, with --key, the signature of the
files; the same input always gives the same archive."""
_BUILD_END = """The manifest is JSON: {"file_list": ["a.js"], "custom_middleware": {"driver": "otto",
"pre": [{"name": "a", "path": "a.js"}]}}. Gateways whose public_key_path is set take signed bundles only."""


def add_parser(verbs: Any) -> None:
    """Add the verb to the parser of all verbs."""
    bundle = verbs.add_parser("bundle", help="build plugin bundles", description="Plugin bundles.")
    actions = bundle.add_subparsers(dest="action", metavar="COMMAND", required=True)
    found = actions.add_parser(
        "build", help="build a bundle from a manifest", description=_BUILD_TEXT, epilog=_BUILD_END
    )
    found.add_argument(
        "-m", "--manifest", metavar="FILE", default="manifest.json", help="the manifest (default manifest.json)"
    )
    found.add_argument("-o", "--output", metavar="FILE", default="bundle.zip", help="the bundle (default bundle.zip)")
    found.add_argument("-k", "--key", metavar="FILE", default="", help="RSA private key (PEM) that signs the bundle")
    found.add_argument("-y", "--skip-signing", action="store_true", help="build without signature, and do not ask")
    found.set_defaults(function=build)


def build(options: argparse.Namespace) -> int:
    """Build a bundle; 1 if that fails or the user does not want it unsigned."""
    if not options.key and not options.skip_signing:
        sys.stderr.write("The bundle won't be signed. Continue? (y/n) ")
        sys.stderr.flush()
        if not sys.stdin.readline().strip().lower().startswith("y"):
            sys.stderr.write("preforge: nothing was built; name a private key with --key, or use --skip-signing\n")
            return 1
    try:
        names = make(options.manifest, options.output, options.key)
    except BundleError as error:
        sys.stderr.write(f"preforge: {error}\n")
        return 1
    for name in names:
        sys.stdout.write(f"added {name}\n")
    sys.stdout.write(f"built {options.output}, {'signed' if options.key else 'not signed'}\n")
    return 0
