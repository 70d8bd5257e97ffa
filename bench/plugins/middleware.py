"""The plugin of the bundle; it is run by a host process of the gateway, where there is a package `tyk`."""

from tyk.decorators import Hook  # type: ignore[import-not-found]


@Hook
def benchPre(request, session, metadata, spec):  # type: ignore[no-untyped-def]
    """What pre.js does."""
    request.add_header("X-Bench", "1")
    request.delete_header("User-Agent")
    request.add_param("bench", "1")
    return request, session, metadata


@Hook
def mark(request, session, metadata, spec):  # type: ignore[no-untyped-def]
    """Tell the upstream what the plugin was asked about."""
    request.add_header("X-Token", request.object.url.rpartition("/")[2])
    return request, session, metadata
