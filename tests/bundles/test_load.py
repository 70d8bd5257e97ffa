"""Bundles on disk: fetched once, verified always, never half there."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coprocess.bundles import BundleError, BundleSettings, Library, LoadedBundle, load
from tests.bundles.archives import FILES, SECTION, Member, SigningKey, bundle
from tests.bundles.server import BundleServer, reply


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey(tmp_path_factory.mktemp("key"))


class Shop:
    """A directory of bundles, and settings that fetch from it."""

    def __init__(self, directory: Path) -> None:
        self.shelf = directory / "shelf"
        self.shelf.mkdir()
        self.settings = BundleSettings(
            base_url=f"file://{self.shelf}", middleware_path=str(directory / "mw"), enable_downloader=True
        )
        self.cache = directory / "mw" / "bundles"

    def put(self, name: str, raw: bytes) -> None:
        (self.shelf / name).parent.mkdir(parents=True, exist_ok=True)
        (self.shelf / name).write_bytes(raw)

    def folder(self, name: str) -> Path:
        return self.cache / hashlib.md5(name.encode()).hexdigest()

    def refused(self, name: str, **settings: Any) -> str:
        """Load what must be refused; nothing unfinished may stay."""
        with pytest.raises(BundleError) as caught:
            load(name, replace(self.settings, **settings))
        assert not list(self.cache.glob(".*"))
        return str(caught.value)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_bundle_lands_in_the_folder_named_by_the_md5_of_its_name(shop: Shop) -> None:
    shop.put("my-1.0.zip", bundle())
    found = load("my-1.0.zip", shop.settings)
    folder = shop.folder("my-1.0.zip")
    assert found.directory == str(folder)
    assert found.digest == folder.name
    assert found.custom_middleware == {"driver": "otto", "pre": [{"name": "mw", "path": f"{folder}/mw.js"}]}
    assert found.files == {f"{folder}/mw.js": hashlib.sha256(FILES["mw.js"]).hexdigest()}
    assert [path.name for path in shop.cache.iterdir()] == [folder.name]


@pytest.mark.parametrize("scheme", ["file://", ""])
def test_file_addresses_and_plain_paths_are_read(shop: Shop, scheme: str) -> None:
    shop.put("team/a.zip", bundle())
    found = load("team/a.zip", replace(shop.settings, base_url=f"{scheme}{shop.shelf}/"))
    assert list(found.files) == [f"{shop.folder('team/a.zip')}/mw.js"]


def test_what_is_on_disk_is_used_without_asking_again_and_with_the_downloader_off(shop: Shop) -> None:
    shop.put("a.zip", bundle())
    first = load("a.zip", shop.settings)
    shop.put("a.zip", b"not a bundle any more")
    assert load("a.zip", shop.settings) == first
    assert load("a.zip", replace(shop.settings, enable_downloader=False)) == first


def test_settings_that_forbid_loading_are_named(shop: Shop) -> None:
    shop.put("a.zip", bundle())
    assert "enable_bundle_downloader" in shop.refused("a.zip", enable_downloader=False)
    assert "bundle_base_url" in shop.refused("a.zip", base_url="")
    assert "unknown URL scheme 'ftp'" in shop.refused("a.zip", base_url="ftp://x/")
    load("a.zip", shop.settings)
    assert "bundle_base_url" in shop.refused("a.zip", base_url="")


@pytest.mark.parametrize("name", ["../a.zip", "a/../../b.zip", "a\\b.zip", "a\n.zip", "a/", "x" * 2000, ",", ".."])
def test_names_that_leave_the_shelf_are_refused(shop: Shop, name: str) -> None:
    assert "name" in shop.refused(name)
    assert not shop.cache.exists()


@pytest.mark.parametrize("change", ["contents", "gone", "link", "folder", "fifo"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_file_that_changed_on_disk_is_refused_at_the_next_load(
    shop: Shop, key: SigningKey, tmp_path: Path, change: str, signed: bool
) -> None:
    """Unsigned bundles too: Tyk takes a changed one."""
    settings = replace(shop.settings, public_key_path=str(key.public)) if signed else shop.settings
    shop.put("a.zip", bundle(key=key if signed else None))
    load("a.zip", settings)
    script = shop.folder("a.zip") / "mw.js"
    script.unlink()
    if change == "contents":
        script.write_bytes(b"evil()")
    elif change == "link":
        (tmp_path / "same.js").write_bytes(FILES["mw.js"])
        script.symlink_to(tmp_path / "same.js")
    elif change == "folder":
        script.mkdir()
    elif change == "fifo":
        os.mkfifo(script)
    message = shop.refused("a.zip", public_key_path=settings.public_key_path)
    assert "a.zip" in message
    assert "mw.js" in message or "$.checksum" in message
    assert "remove that directory" in message


def test_a_manifest_that_is_gone_or_changed_on_disk_is_refused(shop: Shop) -> None:
    shop.put("a.zip", bundle())
    load("a.zip", shop.settings)
    manifest = shop.folder("a.zip") / "manifest.json"
    document = json.loads(manifest.read_bytes())
    manifest.write_text(json.dumps({**document, "file_list": []}))
    assert "$.checksum" in shop.refused("a.zip")
    manifest.unlink()
    assert "manifest.json: the file does not exist" in shop.refused("a.zip")


def test_a_folder_inside_a_bundle_replaced_by_a_link_is_refused(shop: Shop, tmp_path: Path) -> None:
    files = {"lib/a.js": b"1"}
    shop.put("a.zip", bundle(files, {"driver": "otto", "pre": [{"name": "a", "path": "lib/a.js"}]}))
    load("a.zip", shop.settings)
    inside = shop.folder("a.zip") / "lib"
    shutil.move(inside, tmp_path / "elsewhere")
    inside.symlink_to(tmp_path / "elsewhere")
    assert "link" in shop.refused("a.zip")


def test_a_link_in_place_of_the_whole_folder_is_refused(shop: Shop, tmp_path: Path) -> None:
    shop.put("a.zip", bundle())
    load("a.zip", shop.settings)
    shutil.move(shop.folder("a.zip"), tmp_path / "elsewhere")
    shop.folder("a.zip").symlink_to(tmp_path / "elsewhere")
    assert "expected a directory" in shop.refused("a.zip")


def test_verification_of_what_is_on_disk_can_be_turned_off_and_says_so(shop: Shop, key: SigningKey) -> None:
    shop.put("a.zip", bundle(key=key))
    load("a.zip", shop.settings)
    (shop.folder("a.zip") / "mw.js").write_bytes(b"changed()")
    found = load("a.zip", replace(shop.settings, skip_verify_existing=True, public_key_path=str(key.public)))
    assert list(found.files.values()) == [hashlib.sha256(b"changed()").hexdigest()]
    assert "skip_verify_existing_plugin_bundle" in found.remarks[0]


def test_a_fresh_download_is_verified_whatever_is_said_about_existing_ones(shop: Shop) -> None:
    shop.put("a.zip", bundle(checksum="0" * 32))
    assert "$.checksum" in shop.refused("a.zip", skip_verify_existing=True)
    assert not shop.folder("a.zip").exists()


def test_the_checksum_is_the_md5_of_the_concatenated_files(shop: Shop) -> None:
    files = {"file1": b"file1 content", "file2": b"file2 content"}
    section = {"driver": "grpc", "pre": [{"name": "a"}]}
    shop.put("a.zip", bundle(files, section, checksum="1510d0e71b31de1c78fd9e823a7c6de9"))
    assert len(load("a.zip", shop.settings).files) == 2
    shop.put("b.zip", bundle({}, section, checksum="d41d8cd98f00b204e9800998ecf8427e"))
    assert load("b.zip", shop.settings).files == {}


def test_a_wrong_sha256_is_refused_and_a_right_one_taken(shop: Shop) -> None:
    right = hashlib.sha256(FILES["mw.js"]).hexdigest()
    shop.put("a.zip", bundle(checksum_sha256=right))
    assert load("a.zip", shop.settings).files
    shop.put("b.zip", bundle(checksum_sha256="0" * 64))
    assert "$.checksum_sha256" in shop.refused("b.zip")


def test_with_a_key_only_bundles_signed_by_it_are_taken(shop: Shop, key: SigningKey, tmp_path: Path) -> None:
    public = str(key.public)
    shop.put("signed.zip", bundle(key=key))
    assert load("signed.zip", replace(shop.settings, public_key_path=public)).files
    shop.put("unsigned.zip", bundle())
    assert "not signed" in shop.refused("unsigned.zip", public_key_path=public)
    shop.put("foreign.zip", bundle(key=SigningKey(tmp_path / "other")))
    assert "verification error" in shop.refused("foreign.zip", public_key_path=public)
    shop.put("garbage.zip", bundle(signature="*not base64*"))
    assert "expected standard base64" in shop.refused("garbage.zip", public_key_path=public)
    shop.put("wrong.zip", bundle(key=key, checksum="0" * 32))
    assert "$.checksum" in shop.refused("wrong.zip", public_key_path=public)
    assert not shop.folder("foreign.zip").exists()


def test_an_unsigned_bundle_on_disk_is_refused_once_a_key_is_set(shop: Shop, key: SigningKey) -> None:
    """Tyk keeps taking it."""
    shop.put("a.zip", bundle())
    load("a.zip", shop.settings)
    assert "not signed" in shop.refused("a.zip", public_key_path=str(key.public))


def test_a_signature_without_a_key_to_check_it_does_not_replace_the_checksum(shop: Shop, key: SigningKey) -> None:
    shop.put("a.zip", bundle(key=key))
    assert load("a.zip", shop.settings).files
    shop.put("b.zip", bundle(key=key, checksum=""))
    assert "$.checksum" in shop.refused("b.zip")


@pytest.mark.parametrize("place", ["pre", "auth_check"])
def test_code_in_a_manifest_is_not_signed_and_refused_with_a_key(shop: Shop, key: SigningKey, place: str) -> None:
    """The signature covers files alone; whoever can change the manifest could bring any script."""
    hook = {"name": "x", "code": "eA=="}
    shop.put("a.zip", bundle(section={"driver": "otto", place: hook if place == "auth_check" else [hook]}, key=key))
    message = shop.refused("a.zip", public_key_path=str(key.public))
    assert f"$.custom_middleware.{'pre[0]' if place == 'pre' else place}.code: no signature covers" in message
    assert load("a.zip", shop.settings).custom_middleware[place]


PYTHON = {"driver": "python", "pre": [{"name": "p"}]}


def test_files_that_a_python_bundle_does_not_list_are_part_of_it_and_said(shop: Shop, key: SigningKey) -> None:
    shop.put("a.zip", bundle({"middleware.py": b"1"}, PYTHON, key, Member("vendor/v.py", b"v"), Member("vendor.py")))
    found = load("a.zip", shop.settings)
    folder = shop.folder("a.zip")
    assert set(found.files) == {f"{folder}/{name}" for name in ("middleware.py", "vendor/v.py", "vendor.py")}
    assert found.files[f"{folder}/vendor/v.py"] == hashlib.sha256(b"v").hexdigest()
    assert found.listed == ("middleware.py",)
    assert found.remarks == ("a.zip: 2 files are not in $.file_list, so no checksum covers what a plugin uses of it",)
    (folder / "vendor" / "link.py").symlink_to(folder / "vendor" / "v.py")
    (folder / "vendor" / "__pycache__").mkdir()
    (folder / "vendor" / "__pycache__" / "v.cpython-311.pyc").write_bytes(b"x")
    (folder / "vendor" / "v.py").write_bytes(b"w")
    again = load("a.zip", shop.settings)
    assert again.files == found.files | {f"{folder}/vendor/v.py": hashlib.sha256(b"w").hexdigest()}
    signed = load("a.zip", replace(shop.settings, public_key_path=str(key.public)))
    assert list(signed.files) == [f"{folder}/middleware.py"]
    assert signed.remarks == ()


def test_a_signed_python_bundle_leaves_out_what_its_signature_does_not_cover(shop: Shop, key: SigningKey) -> None:
    shop.put("a.zip", bundle({"middleware.py": b"1"}, PYTHON, key, Member("vendor/v.py", b"v")))
    found = load("a.zip", replace(shop.settings, public_key_path=str(key.public)))
    assert [path.name for path in shop.folder("a.zip").iterdir() if path.name != "manifest.json"] == ["middleware.py"]
    assert len(found.files) == 1
    assert "a.zip: 1 file is not in $.file_list and stayed in the archive: the signature" in found.remarks[0]
    assert load("a.zip", shop.settings).remarks == ()


def test_a_python_bundle_without_a_file_to_begin_with_is_said(shop: Shop) -> None:
    shop.put("a.zip", bundle({"botdetection.py": b"1", "rules.py": b"2"}, PYTHON))
    assert "$.file_list: 2 files without middleware.py" in load("a.zip", shop.settings).remarks[0]
    shop.put("b.zip", bundle({"botdetection.py": b"1"}, PYTHON))
    assert load("b.zip", shop.settings).remarks == ()


def test_files_that_are_not_listed_are_bounded_too(shop: Shop) -> None:
    shop.put("a.zip", bundle({"middleware.py": b"1"}, PYTHON))
    load("a.zip", shop.settings)
    for number in range(4):
        (shop.folder("a.zip") / f"{number}.py").write_bytes(b"12345")
    assert "more than 3 files" in shop.refused("a.zip", max_files=3)
    assert "larger than the limits" in shop.refused("a.zip", max_unpacked_bytes=20)
    assert "larger than the limits" in shop.refused("a.zip", max_file_bytes=4)


@pytest.mark.parametrize("kind", ["missing", "text", "private", "elliptic", "large"])
def test_a_key_that_cannot_be_used_refuses_and_is_named(shop: Shop, key: SigningKey, tmp_path: Path, kind: str) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    path = tmp_path / "key.pem"
    if kind == "text":
        path.write_text("hello")
    elif kind == "private":
        path = key.private
    elif kind == "large":
        path.write_bytes(bytes(100_000))
    elif kind == "elliptic":
        public = ec.generate_private_key(ec.SECP256R1()).public_key()
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        path.write_bytes(public.public_bytes(serialization.Encoding.PEM, form))
    shop.put("a.zip", bundle(key=key))
    assert f"public_key_path: {path}: " in shop.refused("a.zip", public_key_path=str(path))


def test_pkcs1_public_keys_are_taken(shop: Shop, key: SigningKey, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    path = tmp_path / "rsa.pem"
    public = key.key.public_key()
    path.write_bytes(public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1))
    shop.put("a.zip", bundle(key=key))
    assert load("a.zip", replace(shop.settings, public_key_path=str(path))).files


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("file_list", {"a": 1}, "$.file_list: expected a list, got an object"),
        ("file_list", ["mw.js", 5], "$.file_list[1]: expected a string, got a number"),
        ("file_list", ["../../etc/passwd"], "$.file_list[0]: '../../etc/passwd': the name has"),
        ("file_list", ["mw.js", "mw.js"], "$.file_list[1]: 'mw.js' stands there twice"),
        ("file_list", ["manifest.json"], "$.file_list[0]: the manifest cannot list itself"),
        ("custom_middleware", [], "$.custom_middleware: expected an object, got a list"),
        ("custom_middleware", None, "$.custom_middleware: missing"),
        ("custom_middleware", {"pre": [{"name": 1}]}, "$.custom_middleware.pre[0].name: expected a string, got a number"),
        ("custom_middleware", {"post": [None]}, "$.custom_middleware.post[0]: expected an object, got null"),
        ("custom_middleware", {"auth_check": {"require_session": "yes"}}, "auth_check.require_session: expected true"),
        ("custom_middleware", {"pre": [{"name": "a", "path": "other.js"}]}, "pre[0].path: 'other.js' is not in"),
        ("custom_middleware", {"pre": [{"name": "a", "path": "../mw.js"}]}, "pre[0].path: '../mw.js': the name has"),
        ("checksum", 7, "$.checksum: expected a string, got a number"),
    ],
)
def test_errors_in_the_manifest_name_the_field(shop: Shop, member: str, value: Any, message: str) -> None:
    shop.put("a.zip", bundle(**{member: value}))
    text = shop.refused("a.zip")
    assert text.startswith("a.zip: manifest.json: $.")
    assert message in text


def test_members_of_the_manifest_are_found_whatever_their_case(shop: Shop) -> None:
    shop.put("a.zip", bundle(custom_middleware=None, Custom_Middleware={"Driver": "otto", "PRE": [{"Name": "mw"}]}))
    assert load("a.zip", shop.settings).custom_middleware == {"driver": "otto", "pre": [{"name": "mw"}]}


def test_disabled_hooks_and_hooks_of_other_drivers_need_no_file(shop: Shop) -> None:
    section = {"driver": "otto", "pre": [{"disabled": True, "name": "a", "path": "gone.js"}]}
    shop.put("a.zip", bundle(section=section))
    assert load("a.zip", shop.settings).custom_middleware["pre"] == [{"disabled": True, "name": "a", "path": ""}]
    shop.put("b.zip", bundle(section={"driver": "python", "pre": [{"name": "a", "path": "/etc/passwd"}]}))
    assert load("b.zip", shop.settings).custom_middleware["pre"] == [{"name": "a", "path": ""}]


def several(shop: Shop, *sections: dict[str, Any]) -> LoadedBundle:
    """Load bundles 0.zip,1.zip ... with these sections."""
    for index, section in enumerate(sections):
        shop.put(f"{index}.zip", bundle(section=section))
    return load(",".join(f"{index}.zip" for index in range(len(sections))), shop.settings)


def test_several_bundles_run_in_order_each_from_its_own_folder(shop: Shop) -> None:
    shop.put("team/a.v1.zip", bundle({"mw.js": b"a"}, {**SECTION, "auth_check": {"name": "auth", "path": "mw.js"}}))
    shop.put("b.zip", bundle({"mw.js": b"b"}, {**SECTION, "post": [{"name": "p", "code": "eA=="}]}))
    text = " team/a.v1.zip, b.zip "
    found = load(text, shop.settings)
    root = shop.folder(text)
    assert found.custom_middleware == {
        "driver": "otto",
        "pre": [{"name": "mw", "path": f"{root}/team__a.v1/mw.js"}, {"name": "mw", "path": f"{root}/b/mw.js"}],
        "auth_check": {"name": "auth", "path": f"{root}/team__a.v1/mw.js"},
        "post": [{"name": "p", "code": "eA=="}],
    }
    assert [Path(path).read_bytes() for path in found.files] == [b"a", b"b"]
    assert load(text, replace(shop.settings, enable_downloader=False)) == found


def test_several_bundles_must_agree(shop: Shop) -> None:
    auth = {"driver": "otto", "auth_check": {"name": "a"}}
    with pytest.raises(BundleError, match=r"1\.zip: manifest\.json: \$\.custom_middleware\.auth_check: 0\.zip defines one"):
        several(shop, auth, auth)
    shop.put("g.zip", bundle(section={"driver": "grpc"}))
    assert "expected one driver" in shop.refused("0.zip,g.zip")
    assert "same name without extension" in shop.refused("0.zip,0.tar")
    shop.put("p.zip", bundle({"middleware.py": b"1"}, {"driver": "python"}))
    shop.put("q.zip", bundle({"middleware.py": b"1"}, {"driver": "python"}))
    assert "p.zip: manifest.json: $.custom_middleware.driver: one of 2 bundles" in shop.refused("p.zip,q.zip")
    shop.put("bad.zip", bundle(checksum="0"))
    assert "bad.zip: manifest.json: $.checksum" in shop.refused("0.zip,bad.zip")
    assert not shop.folder("0.zip,bad.zip").exists()


def test_of_several_id_extractors_the_first_counts(shop: Shop) -> None:
    first, second = ({"extract_from": place, "extract_with": "value"} for place in ("header", "form"))
    found = several(shop, {"driver": "otto"}, {"driver": "otto", "id_extractor": first},
                    {"driver": "otto", "id_extractor": second, "traffic_logs": {"name": "t"}})  # fmt: skip
    assert found.custom_middleware == {"driver": "otto", "id_extractor": first, "traffic_logs": {"name": "t"}}


def test_one_of_several_bundles_changed_on_disk_refuses_all(shop: Shop) -> None:
    several(shop, SECTION, SECTION)
    (shop.folder("0.zip,1.zip") / "1" / "mw.js").write_bytes(b"evil()")
    assert "1.zip: manifest.json: $.checksum" in shop.refused("0.zip,1.zip")


def test_a_bundle_named_by_many_apis_is_loaded_once_per_load(tmp_path: Path) -> None:
    with BundleServer() as server:
        server.put("/a.zip", reply(bundle()))
        settings = BundleSettings(server.url, str(tmp_path), enable_downloader=True)
        library = Library(settings)
        assert [library.load("a.zip") for _ in range(5)] == [library.load("a.zip")] * 5
        for _ in range(5):
            with pytest.raises(BundleError, match="404"):
                library.load("gone.zip")
        assert server.paths() == ["/a.zip", "/gone.zip"]


def _load_in_child(settings: BundleSettings, start: Any, results: Any) -> None:
    start.wait(30)
    try:
        results.put(load("a.zip", settings).files)
    except BundleError as error:
        results.put(str(error))


def test_loaders_at_the_same_time_leave_one_whole_bundle(shop: Shop) -> None:
    """Reloads of several gateways that share a middleware_path."""
    files = {f"{number}.js": os.urandom(20_000) for number in range(40)} | FILES
    shop.put("a.zip", bundle(files))
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    loaders = [context.Process(target=_load_in_child, args=(shop.settings, start, results)) for _ in range(3)]
    for loader in loaders:
        loader.start()
    start.set()
    found = [results.get(timeout=60) for _ in loaders]
    for loader in loaders:
        loader.join(30)
    expected = {f"{shop.folder('a.zip')}/{name}": hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    assert found == [expected] * 3
    assert [path.name for path in shop.cache.iterdir()] == [shop.folder("a.zip").name]


def test_what_an_ended_loader_left_is_removed_and_what_is_in_use_is_not(shop: Shop) -> None:
    shop.cache.mkdir(parents=True)
    old, new = shop.cache / ".unfinished-old", shop.cache / ".unfinished-new"
    for place in (old, new):
        place.mkdir()
        (place / "mw.js").write_bytes(b"x")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    shop.put("a.zip", bundle())
    load("a.zip", shop.settings)
    assert not old.exists()
    assert new.exists()


def test_a_folder_that_cannot_be_made_is_named(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    shop.put("a.zip", bundle())
    assert f"{tmp_path}/file" in shop.refused("a.zip", middleware_path=f"{tmp_path}/file")
