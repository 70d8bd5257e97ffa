"""Decorators that register hooks (tyk-plugins 5.3). All of them work; `Response` is an addition."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

__all__ = ["CustomKeyCheck", "Event", "HandlerDecorator", "Hook", "Post", "PostKeyAuth", "Pre", "Response"]


class HandlerDecorator:
    """A registered function. It can still be called like the function."""

    def __init__(self, callback: Callable[..., Any]) -> None:
        self.callback = callback
        self.name = getattr(callback, "__name__", type(callback).__name__)
        functools.update_wrapper(self, callback)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.callback(*args, **named)


class Hook(HandlerDecorator):
    """For any hook."""


class Pre(HandlerDecorator):
    """For `pre`."""


class Post(HandlerDecorator):
    """For `post`."""


class PostKeyAuth(HandlerDecorator):
    """For `post_key_auth`."""


class CustomKeyCheck(HandlerDecorator):
    """For `auth_check`."""


class Response(HandlerDecorator):
    """For `response`."""


class Event(HandlerDecorator):
    """For events: called with (event, spec)."""
