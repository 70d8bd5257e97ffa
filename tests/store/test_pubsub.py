"""Notifications: heard by whoever subscribes, and again after every loss of the connection."""

from __future__ import annotations

import asyncio

import pytest

from tests.store.conftest import opened, run, settings, until
from tests.support.valkey import Valkey


def test_messages_arrive_whole_and_in_order(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as publisher, opened(settings(server)) as store:
            heard: list[bytes] = []
            states: list[bool] = []
            store.subscribe("news", heard.append, states.append)
            await until(lambda: states == [True], "subscribed")
            sent = [b"%d \xff\r\n" % number for number in range(200)]
            for message in sent:
                await publisher.publish("news", message)
            await publisher.publish("other", b"not for us")
            await until(lambda: len(heard) >= 200, "all messages")
            assert heard == sent
            assert store.stats()["subscribed"] == 1

    run(body())


def test_subscription_is_made_again_after_a_kill_and_says_when_it_was_deaf(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            heard: list[bytes] = []
            states: list[bool] = []
            store.subscribe("news", heard.append, states.append)
            await until(lambda: states == [True], "subscribed")
            for turn in range(1, 4):
                server.kill()
                await until(lambda: states[-1] is False, "the loss is told")
                assert store.stats()["subscribed"] == 0
                server.start()
                await until(lambda: states[-1] is True, "subscribed again")
                assert states == [True, *[False, True] * turn]
                server.ask("PUBLISH", "news", f"after {turn}")
                await until(lambda: heard[-1:] == [f"after {turn}".encode()], "the message")  # noqa: B023
            assert heard == [b"after 1", b"after 2", b"after 3"]

    run(body())


def test_a_silent_server_is_noticed_without_any_message(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server, command_timeout=0.3)) as store:
            states: list[bool] = []
            store.subscribe("news", lambda _: None, states.append)
            await until(lambda: states == [True], "subscribed")
            server.pause()
            await until(lambda: states == [True, False], "the silence is noticed")
            server.resume()
            await until(lambda: states[-1] is True, "subscribed again")

    run(body())


def test_a_message_that_cannot_be_handled_does_not_end_the_subscription(
    server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            heard: list[bytes] = []
            states: list[bool] = []

            def take(message: bytes) -> None:
                heard.append(message)
                if message == b"bad":
                    raise ValueError("broken handler")

            store.subscribe("news", take, states.append)
            await until(lambda: states == [True], "subscribed")
            for message in (b"bad", b"good"):
                await store.publish("news", message)
            await until(lambda: len(heard) == 2, "both messages")
            assert heard == [b"bad", b"good"]
            assert states == [True]

    run(body())
    assert "broken handler" in caplog.text


def test_subscriptions_do_not_hold_up_commands(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            states: list[bool] = []
            for number in range(3):
                store.subscribe(f"news-{number}", lambda _: None, states.append)
            await until(lambda: states == [True] * 3, "all subscribed")
            replies = await asyncio.gather(*(store.call("ECHO", number) for number in range(100)))
            assert replies == [str(number).encode() for number in range(100)]

    run(body())
