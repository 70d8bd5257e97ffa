"""Bounds of requests that run and wait."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from core.outbound.gate import Gate
from core.outbound.messages import OutboundError


async def hold(gate: Gate, until: asyncio.Event, done: list[int], number: int, patient: bool = False) -> None:
    async with gate.place(patient=patient):
        await until.wait()
        done.append(number)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_more_run_or_wait_than_may() -> None:
    async def body() -> None:
        gate, until, done = Gate(2), asyncio.Event(), list[int]()
        tasks = [asyncio.create_task(hold(gate, until, done, number)) for number in range(4)]
        await settle()
        assert (gate.running, gate.waiting) == (2, 2)
        with pytest.raises(OutboundError, match="2 requests run and 2 wait") as refused:
            async with gate.place():
                pass
        assert refused.value.reason == "busy"
        patient = asyncio.create_task(hold(gate, until, done, 9, patient=True))
        await settle()
        assert (gate.running, gate.waiting) == (2, 3)
        until.set()
        await asyncio.gather(*tasks, patient)
        assert done == [0, 1, 2, 3, 9]
        assert (gate.running, gate.waiting) == (0, 0)

    uvloop.run(body())


def test_a_patient_one_takes_the_room_of_others_to_wait() -> None:
    async def body() -> None:
        gate, until, done = Gate(1), asyncio.Event(), list[int]()
        tasks = [asyncio.create_task(hold(gate, until, done, number, patient=True)) for number in range(5)]
        await settle()
        tasks.append(asyncio.create_task(hold(gate, until, done, 5)))
        await settle()
        assert gate.waiting == 5
        until.set()
        await asyncio.gather(*tasks)
        assert done == [0, 1, 2, 3, 4, 5]

    uvloop.run(body())


@pytest.mark.parametrize("handed", [False, True])
def test_a_place_is_lost_with_a_task_that_is_cancelled(handed: bool) -> None:
    async def body() -> None:
        gate, until, done = Gate(1), asyncio.Event(), list[int]()
        first = asyncio.create_task(hold(gate, until, done, 0))
        await settle()
        second = asyncio.create_task(hold(gate, until, done, 1))
        third = asyncio.create_task(hold(gate, until, done, 2, patient=True))
        await settle()
        assert (gate.running, gate.waiting) == (1, 2)
        if handed:
            # In one turn of the loop: the place is handed over, then its new owner is cancelled.
            first.cancel()
            await asyncio.sleep(0)
        second.cancel()
        await settle()
        until.set()
        await asyncio.gather(first, second, third, return_exceptions=True)
        assert done == ([2] if handed else [0, 2])
        assert (gate.running, gate.waiting) == (0, 0)
        async with gate.place():
            assert gate.running == 1

    uvloop.run(body())


def test_a_raised_bound_leaves_those_that_wait() -> None:
    async def body() -> None:
        gate, until, done = Gate(1), asyncio.Event(), list[int]()
        tasks = [asyncio.create_task(hold(gate, until, done, 0))]
        await settle()
        tasks.append(asyncio.create_task(hold(gate, until, done, 1)))
        await settle()
        gate.configure(3)
        await settle()
        assert (gate.running, gate.waiting) == (2, 0)
        gate.configure(1)
        until.set()
        await asyncio.gather(*tasks)
        assert gate.running == 0

    uvloop.run(body())
