"""Names of bundles, and of files inside them, that are safe to join to a directory."""

from __future__ import annotations

MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255
MAX_BUNDLES = 64


def safe_name(text: str) -> str:
    """Return the name without "." parts. Raises ValueError for anything that is not plainly below a directory."""
    if not text or text.endswith("/"):
        raise ValueError("the name of a file is expected")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise ValueError(f"the name is longer than {MAX_NAME_BYTES} bytes")
    if not text.isprintable():
        raise ValueError("the name has control characters")
    if "\\" in text:
        raise ValueError("the name has a backslash")
    if text.startswith("/"):
        raise ValueError("the name is absolute")
    parts = [part for part in text.split("/") if part != "."]
    if not parts or any(not part for part in parts):
        raise ValueError("the name has an empty part")
    if ".." in parts:
        raise ValueError('the name has ".."')
    if any(len(part.encode()) > MAX_PART_BYTES for part in parts):
        raise ValueError(f"a part of the name is longer than {MAX_PART_BYTES} bytes")
    return "/".join(parts)


def bundle_names(text: str) -> list[str]:
    """Split ``custom_middleware_bundle`` into the names in it, which commas separate (tyk-plugins 7.2).

    Leading slashes are dropped, as the join of addresses drops them. Raises ValueError.
    """
    names = [name.strip() for name in text.split(",")]
    found = [safe_name(name.lstrip("/")) for name in names if name]
    if len(found) > MAX_BUNDLES:
        raise ValueError(f"{len(found)} bundles are named, at most {MAX_BUNDLES} are allowed")
    return found


def folder_name(name: str) -> str:
    """The sub-directory of one of several bundles: without extension, slashes as "__" (tyk-plugins 7.4)."""
    head, _, last = name.rpartition("/")
    stem = last.rpartition(".")[0] or last
    return (f"{head}/{stem}" if head else stem).replace("/", "__")
