"""`preforge bundle build`: what it makes loads, and what would not load is not made."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from coprocess.bundles import BundleError, BundleSettings, load
from coprocess.bundles.build import build
from core.cli import main
from tests.bundles.archives import SigningKey
from tests.support.gateway import ROOT

MANIFEST: dict[str, Any] = {
    "file_list": ["mw.js", "lib/helper.js"],
    "custom_middleware": {"driver": "otto", "pre": [{"name": "mw", "path": "mw.js"}]},
    "checksum": "left over",
    "signature": "left over",
}


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a manifest and its files."""
    place = tmp_path / "workshop"
    (place / "lib").mkdir(parents=True)
    (place / "mw.js").write_bytes(b"var mw = 1;\n")
    (place / "lib" / "helper.js").write_bytes(bytes(range(256)))
    (place / "manifest.json").write_text(json.dumps(MANIFEST))
    monkeypatch.chdir(place)
    return place


def change(workshop: Path, **more: Any) -> None:
    (workshop / "manifest.json").write_text(json.dumps({**MANIFEST, **more}))


def served(workshop: Path, **more: Any) -> BundleSettings:
    return BundleSettings(str(workshop), str(workshop.parent / "mw"), enable_downloader=True, **more)


def test_an_unsigned_bundle_loads_and_holds_what_the_manifest_lists(
    workshop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "build", "-y"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "added mw.js", "added lib/helper.js", "added manifest.json", "built bundle.zip, not signed",
    ]  # fmt: skip
    with zipfile.ZipFile(workshop / "bundle.zip") as archive:
        assert archive.namelist() == ["mw.js", "lib/helper.js", "manifest.json"]
        manifest = json.loads(archive.read("manifest.json"))
    joined = b"var mw = 1;\n" + bytes(range(256))
    assert manifest == {
        **MANIFEST,
        "checksum": hashlib.md5(joined).hexdigest(),
        "checksum_sha256": hashlib.sha256(joined).hexdigest(),
        "signature": "",
    }
    assert len(load("bundle.zip", served(workshop)).files) == 2


def test_a_signed_bundle_loads_where_its_key_is_known_and_nowhere_else(workshop: Path, tmp_path: Path) -> None:
    key, other = SigningKey(tmp_path / "key"), SigningKey(tmp_path / "other")
    command = ["bundle", "build", "--manifest", "manifest.json", "--output", "s.zip", "--key", str(key.private)]
    assert main(command) == 0
    assert load("s.zip", served(workshop, public_key_path=str(key.public))).files
    with pytest.raises(BundleError, match="verification error"):
        load("s.zip", served(workshop, public_key_path=str(other.public)))


def test_pkcs8_keys_sign_and_encrypted_or_other_keys_are_named(workshop: Path, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = SigningKey(tmp_path / "key")
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = tmp_path / "pkcs8.pem"
    path.write_bytes(key.key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    build("manifest.json", "p.zip", str(path))
    assert load("p.zip", served(workshop, public_key_path=str(key.public))).files
    path.write_bytes(key.key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"pw")))
    with pytest.raises(BundleError, match=rf"--key: {path}: the key is encrypted"):
        build("manifest.json", "p.zip", str(path))
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(pem, pkcs8, serialization.NoEncryption()))
    for wrong in (path, key.public, workshop / "mw.js"):
        with pytest.raises(BundleError, match=rf"--key: {wrong}: expected a PEM file with an RSA private key"):
            build("manifest.json", "p.zip", str(wrong))
    with pytest.raises(BundleError, match=r"--key: gone\.pem: cannot be read"):
        build("manifest.json", "p.zip", "gone.pem")


def test_the_same_input_gives_the_same_bytes(workshop: Path, tmp_path: Path) -> None:
    key = SigningKey(tmp_path / "key")
    for signing in ("", str(key.private)):
        build("manifest.json", "one.zip", signing)
        os.utime("mw.js", (1, 1))
        Path("mw.js").chmod(0o755)
        build("manifest.json", "two.zip", signing)
        assert Path("one.zip").read_bytes() == Path("two.zip").read_bytes()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"file_list": ["mw.js", "gone.js"]}, "$.file_list[1]: referencing a nonexistent file: gone.js"),
        ({"file_list": ["../manifest.json"]}, "$.file_list[0]: '../manifest.json': the name has"),
        ({"file_list": ["lib"]}, "$.file_list[0]: lib: expected a regular file"),
        ({"file_list": "mw.js"}, "$.file_list: expected a list, got a string"),
        ({"custom_middleware": {"driver": "otto"}}, "$.custom_middleware: no hooks defined"),
        ({"custom_middleware": {"driver": "otto", "auth_check": {"name": ""}}}, "no hooks defined"),
        ({"custom_middleware": {"pre": [{"name": "mw"}]}}, "$.custom_middleware.driver: no driver specified"),
        ({"custom_middleware": None}, "$.custom_middleware: missing"),
        ({"custom_middleware": {"driver": "python", "pre": [{"name": "p"}]}}, "$.file_list: 2 files without middleware.py"),
    ],
)
def test_manifests_that_cannot_work_are_refused(
    workshop: Path, capsys: pytest.CaptureFixture[str], more: dict[str, Any], message: str
) -> None:
    change(workshop, **more)
    assert main(["bundle", "build", "-y"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("preforge: manifest.json: ")
    assert message in captured.err
    assert captured.out == ""
    assert not (workshop / "bundle.zip").exists()


def test_a_script_that_is_not_listed_is_found_when_the_bundle_is_built(workshop: Path) -> None:
    change(workshop, custom_middleware={"driver": "otto", "pre": [{"name": "a", "path": "other.js"}]})
    with pytest.raises(BundleError, match=r"pre\[0\]\.path: 'other\.js' is not in \$\.file_list"):
        build("manifest.json", "bundle.zip")
    assert not (workshop / "bundle.zip").exists()


def test_a_missing_or_broken_manifest_is_named(workshop: Path) -> None:
    with pytest.raises(BundleError, match=r"couldn't load manifest file: gone\.json"):
        build("gone.json", "bundle.zip")
    (workshop / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json: not valid JSON"):
        build("manifest.json", "bundle.zip")


def test_a_bundle_that_gateways_would_refuse_is_not_made(workshop: Path) -> None:
    (workshop / "mw.js").write_bytes(bytes(4 * 1024 * 1024))
    with pytest.raises(BundleError, match="max_ratio"):
        build("manifest.json", "bundle.zip")
    assert not (workshop / "bundle.zip").exists()


@pytest.mark.parametrize("output", ["manifest.json", "mw.js", "lib/../mw.js"])
def test_the_output_never_overwrites_its_input(workshop: Path, output: str) -> None:
    before = (workshop / "mw.js").read_bytes(), (workshop / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match="would overwrite"):
        build("manifest.json", output)
    assert ((workshop / "mw.js").read_bytes(), (workshop / "manifest.json").read_bytes()) == before


def test_an_output_that_cannot_be_written_leaves_nothing(workshop: Path) -> None:
    with pytest.raises(BundleError, match=r"--output: gone/b\.zip: cannot be written"):
        build("manifest.json", "gone/b.zip")
    (workshop / "folder.zip").mkdir()
    with pytest.raises(BundleError, match=r"--output: folder\.zip: cannot be written"):
        build("manifest.json", "folder.zip")
    assert not list(workshop.glob(".*"))


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("Yes\n", 0), ("n\n", 1), ("\n", 1), ("", 1)])
def test_without_key_it_asks_before_it_builds(
    workshop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, code: int
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert main(["bundle", "build"]) == code
    assert "The bundle won't be signed. Continue?" in capsys.readouterr().err
    assert (workshop / "bundle.zip").exists() == (code == 0)


def test_the_command_line_explains_itself(workshop: Path) -> None:
    code = "import sys; from core.cli import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-c", code, "bundle", "build", "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0
    for flag in ("-m FILE, --manifest", "-o FILE, --output", "-k FILE, --key", "-y, --skip-signing"):
        assert flag in ran.stdout
