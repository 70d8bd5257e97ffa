"""The envelope of an answer, without building the tree of what it holds."""

def parse(frame: bytes) -> tuple[int, bytes | None, bytes | None]:
    """(id, text of the result, text of the error) of one JSON-RPC 2.0 response; one of the two is None.

    The whole frame has to be JSON (RFC 8259), at most 512 levels deep; whether its strings are UTF-8, and whether their
    escapes make whole characters, is left to whoever reads the result. An id is a whole number of at most 15 digits, the
    result an object. A null result or error counts as absent, members with other names are passed over. A name counts if it
    is written without escapes.

    Raises ValueError (what is wrong; never what the frame says).
    """
