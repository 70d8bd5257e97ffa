"""The plugin of the bundle; it is run by a host process of the gateway, where there is a package `tyk`."""

from tyk.decorators import Hook  # type: ignore[import-not-found]


@Hook
def benchPre(request, session, metadata, spec):  # type: ignore[no-untyped-def]
    """The hook: what pre.js does."""
    request.add_header("X-Bench", "1")
    request.delete_header("User-Agent")
    request.add_param("bench", "1")
    return request, session, metadata
