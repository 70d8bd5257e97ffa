"""The way from plugin code to the worker; one per process."""

from __future__ import annotations

from coprocess.python.host.channel import Channel, Ended

_channel: Channel | None = None


def use(channel: Channel) -> None:
    """Set when the host starts."""
    global _channel  # noqa: PLW0603
    _channel = channel


def channel() -> Channel:
    """The channel. Raises Ended outside of a host process."""
    if _channel is None:
        raise Ended("no gateway: this code does not run in a plugin host")
    return _channel
