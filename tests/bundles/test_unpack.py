"""Archives that attack whoever unpacks them."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from coprocess.bundles.settings import MIB, BundleError, BundleSettings
from coprocess.bundles.unpack import unpack
from tests.bundles.archives import FILES, Archive, Member, bundle

SETTINGS = BundleSettings(max_files=50, max_file_bytes=4 * MIB, max_unpacked_bytes=6 * MIB, max_ratio=100)


def take(raw: bytes, directory: Path, settings: BundleSettings = SETTINGS) -> list[str]:
    """Unpack and return all that was written."""
    inside = directory / "inside"
    inside.mkdir()
    unpack(io.BytesIO(raw), str(inside), settings, "b.zip")
    return sorted(path.relative_to(inside).as_posix() for path in inside.rglob("*") if path.is_file())


def refused(raw: bytes, directory: Path, settings: BundleSettings = SETTINGS) -> str:
    """Unpack what must be refused; returns the message. Nothing may have been written outside."""
    with pytest.raises(BundleError) as caught:
        take(raw, directory, settings)
    assert [path.name for path in directory.iterdir()] == ["inside"]
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "/x", "//x", "a//x", "..", "..\\x", "\\x", "x\0.js", "a\nb", "a\x1bb", "a" * 300, "a/" * 600 + "x"],
)
def test_names_that_leave_the_folder_or_deceive_are_refused(tmp_path: Path, name: str) -> None:
    message = refused(bundle(None, None, None, Member(name)), tmp_path)
    assert message.startswith("b.zip: ")
    assert "name" in message
    assert list((tmp_path / "inside").iterdir()) == []


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR]
)
def test_members_that_are_no_plain_files_are_refused(tmp_path: Path, kind: int) -> None:
    member = Member("evil.js", b"/etc/passwd", kind | 0o777)
    assert "no link and no device" in refused(bundle(None, None, None, member), tmp_path)


def test_a_listed_file_that_is_a_link_is_refused(tmp_path: Path) -> None:
    raw = Archive([Member("mw.js", b"/etc/passwd", stat.S_IFLNK | 0o777)]).bytes()
    assert "mw.js: expected a regular file" in refused(raw, tmp_path)


@pytest.mark.parametrize("name", ["mw.js", "./mw.js", "manifest.json"])
def test_a_member_that_stands_twice_is_refused(tmp_path: Path, name: str) -> None:
    assert "stands twice" in refused(bundle(None, None, None, Member(name, b"other")), tmp_path)


def test_a_file_that_is_a_directory_too_is_refused(tmp_path: Path) -> None:
    assert "have the same name" in refused(bundle(None, None, None, Member("mw.js/inner.js")), tmp_path)
    folder = Member("mw.js/", b"", stat.S_IFDIR | 0o755)
    (tmp_path / "inside").rmdir()
    assert "stands twice" in refused(bundle(None, None, None, folder), tmp_path)


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_encrypted_members_are_refused(tmp_path: Path, flag: int) -> None:
    assert "encrypted" in refused(bundle(None, None, None, Member("secret.js", flags=flag)), tmp_path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_methods_without_a_bounded_ratio_are_refused(tmp_path: Path, method: int) -> None:
    assert "compression method" in refused(bundle(None, None, None, Member("a.js", method=method)), tmp_path)


def test_too_many_members_are_refused_before_they_are_read(tmp_path: Path) -> None:
    raw = bundle(None, None, None, *(Member(f"{number}.js") for number in range(60)))
    assert "max_files" in refused(raw, tmp_path)
    # The count of the archive's end record lies; its directory is as large as before.
    at = raw.rfind(b"PK\x05\x06")
    lying = raw[: at + 8] + struct.pack("<HH", 2, 2) + raw[at + 12 :]
    (tmp_path / "inside").rmdir()
    assert "max_files" in refused(lying, tmp_path)


def test_a_directory_of_the_archive_that_is_too_large_is_refused(tmp_path: Path) -> None:
    raw = bundle()
    at = raw.rfind(b"PK\x05\x06")
    large = raw[: at + 12] + struct.pack("<L", 1 << 30) + raw[at + 16 :]
    assert "max_files" in refused(large, tmp_path)


def test_a_bomb_by_ratio_is_refused(tmp_path: Path) -> None:
    member = Member("zeros.js", bytes(3 * MIB))
    assert "max_ratio" in refused(bundle(None, None, None, member), tmp_path)
    assert list((tmp_path / "inside").iterdir()) == []


def test_a_file_and_a_whole_over_their_sizes_are_refused(tmp_path: Path) -> None:
    easy = replace(SETTINGS, max_ratio=2000)
    assert "max_file_bytes" in refused(bundle(None, None, None, Member("a", bytes(5 * MIB))), tmp_path, easy)
    several = [Member(name, bytes(3 * MIB)) for name in "abc"]
    (tmp_path / "inside").rmdir()
    assert "max_unpacked_bytes" in refused(bundle(None, None, None, *several), tmp_path, easy)


def test_a_member_that_unpacks_to_more_than_it_says_is_cut_off(tmp_path: Path) -> None:
    """The bomb that lies about its size: all judgements before unpacking have passed."""
    raw = bundle({"mw.js": bytes(4 * MIB)})
    size, lie = struct.pack("<L", 4 * MIB), struct.pack("<L", 1000)
    assert raw.count(size) == 2
    assert "not a sound zip archive" in refused(raw.replace(size, lie), tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "inside").rglob("mw.js")) <= 1000


def test_names_in_both_directories_of_the_archive_must_agree(tmp_path: Path) -> None:
    raw = bundle()
    deceiving = raw[: raw.find(b"mw.js")] + b"xx.js" + raw[raw.find(b"mw.js") + 5 :]
    assert "not a sound zip archive" in refused(deceiving, tmp_path)


@pytest.mark.parametrize("cut", [0, 1, 10, 21, 50, -1, -10])
def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    assert "not a sound zip archive" in refused(bundle()[:cut], tmp_path)


def test_damaged_contents_are_refused(tmp_path: Path) -> None:
    files = {"mw.js": bytes(range(256)) * 40}
    raw = bytearray(bundle(files))
    at = raw.find(b"mw.js") + 40
    raw[at : at + 20] = bytes(20)
    assert "not a sound zip archive" in refused(bytes(raw), tmp_path)


def test_zip64_is_refused(tmp_path: Path) -> None:
    raw = bundle()
    at = raw.rfind(b"PK\x05\x06")
    locator = b"PK\x06\x07" + bytes(16)
    assert "zip64" in refused(raw[:at] + locator + raw[at:], tmp_path)


def test_members_that_the_manifest_does_not_list_stay_in_the_archive(tmp_path: Path) -> None:
    raw = bundle(None, None, None, Member("unlisted.js", b"evil()"), Member("docs/", b"", stat.S_IFDIR | 0o755))
    assert take(raw, tmp_path) == ["manifest.json", "mw.js"]


def test_a_python_bundle_holds_what_was_added_to_its_archive_where_no_signature_is_asked_for(tmp_path: Path) -> None:
    """`zip -r bundle.zip vendor` behind `tyk bundle build`, as Tyk's users do; what Python never reads stays inside."""
    added = [Member("vendor/", b"", stat.S_IFDIR | 0o755), Member("vendor/v.py"), Member("vendor/__pycache__/v.cpython-39.pyc")]
    raw = bundle({"middleware.py": b"1"}, {"driver": "python"}, None, *added)
    assert take(raw, tmp_path) == ["manifest.json", "middleware.py", "vendor/v.py"]
    (tmp_path / "signed").mkdir()
    assert take(raw, tmp_path / "signed", replace(SETTINGS, public_key_path="key.pem")) == ["manifest.json", "middleware.py"]


def test_nested_files_come_out_as_they_went_in_and_are_not_executable(tmp_path: Path) -> None:
    files = {"lib/deep/a.js": b"1", "b.js": bytes(range(256)), **FILES}
    assert take(bundle(files), tmp_path) == sorted([*files, "manifest.json"])
    for name, contents in files.items():
        path = tmp_path / "inside" / name
        assert path.read_bytes() == contents
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_archive_without_manifest_or_without_a_listed_file_says_so(tmp_path: Path) -> None:
    assert "no manifest.json" in refused(Archive([Member("mw.js")]).bytes(), tmp_path)
    (tmp_path / "inside").rmdir()
    message = refused(bundle(file_list=["mw.js", "gone.js"]), tmp_path)
    assert message == "b.zip: manifest.json: $.file_list[1]: 'gone.js' is not in the archive"
