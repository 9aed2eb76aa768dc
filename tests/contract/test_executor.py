"""Executor on threads of this process."""

import os
import threading

import numpy as np
import pytest
from fluxcaption.domain.errors import OutOfMemory
from fluxcaption.domain.units import Ms, UnitId
from fluxcaption.executor.threads import MemoryBlocks, ThreadExecutor
from fluxcaption.ports.executor import Sound, UnitResult, WorkKind, WorkUnit

SAMPLES = np.arange(100, dtype=np.float32)


def unit(attempt: int = 1) -> WorkUnit:
    return WorkUnit(UnitId("u"), WorkKind.TRANSCRIBE, attempt, "en", "m", "s")


def answer(request: WorkUnit, language: str = "en") -> UnitResult:
    return UnitResult(
        request.id, request.kind, request.attempt, language, request.model_revision, request.asr_settings_key
    )


async def test_a_unit_runs_on_a_thread_of_low_priority() -> None:
    threads: list[tuple[str, int]] = []

    def transcribe(request: WorkUnit) -> UnitResult:
        threads.append(
            (threading.current_thread().name, os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        )
        return answer(request)

    before = os.getpriority(os.PRIO_PROCESS, 0)
    executor = ThreadExecutor(1, 15, {WorkKind.TRANSCRIBE: transcribe})
    assert (await executor.run(unit())).answers(unit())
    await executor.close()
    assert threads[0][0].startswith("recognize")
    assert threads[0][1] == 15
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


async def test_an_error_of_the_handler_is_raised_unchanged() -> None:
    def transcribe(request: WorkUnit) -> UnitResult:
        raise OutOfMemory("too large")

    executor = ThreadExecutor(1, 0, {WorkKind.TRANSCRIBE: transcribe})
    with pytest.raises(OutOfMemory, match="too large"):
        await executor.run(unit())
    await executor.close()


def test_a_result_answers_only_its_own_attempt() -> None:
    assert answer(unit(1)).answers(unit(1))
    assert not answer(unit(1)).answers(unit(2))


def test_a_block_stored_twice_is_kept_until_it_is_dropped_twice() -> None:
    blocks = MemoryBlocks()
    first, second = blocks.put(SAMPLES), blocks.put(SAMPLES.copy())
    assert first == second
    blocks.drop(first)
    assert np.array_equal(blocks.get(second), SAMPLES)
    blocks.drop(second)
    assert len(blocks) == 0
    with pytest.raises(KeyError):
        blocks.get(first)


def test_a_unit_refers_to_audio_by_hash_and_range() -> None:
    sound = Sound(MemoryBlocks().put(SAMPLES), 10, 20, Ms(5000))
    assert len(sound.block) == 64
