"""Any bytes as an archive: refused with a reason, or unpacked to what the manifest says; nothing else."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from coprocess.bundles import BundleError, BundleSettings
from coprocess.bundles.names import safe_name
from coprocess.bundles.unpack import unpack
from coprocess.bundles.verify import verify
from tests.bundles.archives import Member, bundle

LIMITS = BundleSettings(max_files=20, max_file_bytes=100_000, max_unpacked_bytes=200_000)
FILES = {"mw.js": b"var mw = 1;" * 50, "lib/a.js": bytes(range(256))}
SOUND = bundle(FILES, None, None, Member("unlisted.txt", b"hello" * 100))


def judge(raw: bytes) -> bool:
    """Unpack and verify; says whether the archive was taken."""
    with tempfile.TemporaryDirectory() as directory:
        inside = Path(directory, "inside")
        inside.mkdir()
        message = "f.zip: "
        try:
            manifest, _ = unpack(io.BytesIO(raw), str(inside), LIMITS, "f.zip")
            verify(str(inside), manifest, LIMITS, "f.zip", trusted=False)
            taken = True
        except BundleError as error:
            message, taken = str(error), False
        assert message.startswith("f.zip: ")
        assert [path.name for path in Path(directory).iterdir()] == ["inside"]
        found = {path.relative_to(inside).as_posix(): path for path in inside.rglob("*") if not path.is_dir()}
        assert sum(path.stat().st_size for path in found.values()) <= LIMITS.max_unpacked_bytes
        assert not any(path.is_symlink() for path in found.values())
        if taken:
            assert set(found) == {*manifest.files, "manifest.json"}
        return taken


def test_the_archive_that_the_others_come_from_is_sound() -> None:
    assert judge(SOUND)


@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=400, deadline=None)
def test_changed_bytes_never_lead_to_other_files(changes: list[tuple[int, int]]) -> None:
    raw = bytearray(SOUND)
    for at, value in changes:
        raw[at] = value
    assert judge(bytes(raw)) in (True, False)


@given(st.integers(0, len(SOUND)), st.binary(max_size=40), st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_inserted_and_removed_bytes_never_lead_to_other_files(at: int, added: bytes, removed: int) -> None:
    assert judge(SOUND[:at] + added + SOUND[at + removed :]) in (True, False)


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused(raw: bytes) -> None:
    assert not judge(raw)


@given(st.text(st.sampled_from("a./\\\0\n\u202eé "), max_size=12))
@settings(max_examples=500, deadline=None)
def test_a_safe_name_stays_below_its_directory(text: str) -> None:
    try:
        name = safe_name(text)
    except ValueError:
        return
    parts = name.split("/")
    assert all(part not in ("", ".", "..") for part in parts)
    assert not name.startswith("/")
    assert safe_name(name) == name
