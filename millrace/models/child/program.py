"""The child process itself: `python -m millrace.models.child.program PARENT`, started by `process.py` only.

It loads one model and works on what it is asked, one thing at a time, until it is killed or its parent is gone.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, cast

from pydantic import BaseModel, JsonValue

from millrace.errors import ConfigurationError, Poison, Retryable
from millrace.models.child.frames import (
    ASK,
    DONE,
    EXIT_MEMORY,
    FAILED,
    READY,
    TOLD,
    Failed,
    Frame,
    Load,
    read_from,
    write_to,
)

log = logging.getLogger(__name__)

EXIT_LOST = 3
"""Exit status when the parent is gone."""
_PR_SET_PDEATHSIG = 1
# Giving memory back takes 20 ms, and taking it again as much: not between questions that follow closely.
_BUSY_S = 1.0
_OOM_SCORE = "800"  # of 1000: when memory runs out, this process goes and not the agent

Answer = tuple[BaseModel, bytes]
Tell = Callable[[BaseModel], None]
Work = Callable[[bytes, bytes, Tell], Answer]
"""From the JSON and the bytes of a question to those of its answer; `tell` sends what is known meanwhile."""
LoadModel = Callable[[Mapping[str, JsonValue]], Work]


def main(parent: int) -> None:
    """Serve until the parent closes the pipe."""
    _end_with(parent)
    _go_first()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to all of a unit at once, it is the agent's to drain first
    # Libraries print what they like; the answers' pipe is not theirs.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    questions: queue.SimpleQueue[Frame] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, questions), daemon=True).start()
    load = Load.model_validate_json(questions.get().document)
    if load.memory_mb is not None:
        limit_memory(load.memory_mb)
    try:
        work = load_model(load)
    except Exception as exc:  # noqa: BLE001 - told to the parent, whatever it is
        write_to(answers, _failed(exc))
        return
    write_to(answers, Frame(READY))
    while _answer(work, _next(questions), answers):
        pass


def load_model(load: Load) -> Work:
    """The model that a child was asked to become."""
    module, _, name = load.function.partition(":")
    return cast("LoadModel", getattr(importlib.import_module(module), name))(load.settings)


def limit_memory(megabytes: int) -> None:
    """Let allocations beyond this fail in this process, before the kernel looks for somebody to kill.

    RLIMIT_DATA and not RLIMIT_AS: files that are mapped and address space that is only reserved take no memory.
    """
    most = megabytes * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _next(questions: queue.SimpleQueue[Frame]) -> Frame:
    """The next question; while there is none, what the last one took is given back to the system."""
    try:
        return questions.get(timeout=_BUSY_S)
    except queue.Empty:
        give_memory_back()
        return questions.get()


def give_memory_back() -> None:
    """Return what is free to the system (glibc, which keeps it otherwise: 240 MB after a batch of eight clips)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _answer(work: Work, question: Frame, answers: BinaryIO) -> bool:
    """Answer a question; False when nothing sure is left to answer the next one with."""
    if question.kind != ASK:
        raise AssertionError(f"a frame of kind {question.kind!r} between questions")
    try:
        answer, body = work(
            question.document,
            question.body,
            lambda told: write_to(answers, Frame(TOLD, told.model_dump_json().encode())),
        )
    except Exception as exc:
        if not isinstance(exc, Retryable | Poison):
            log.exception("a local model failed")
        write_to(answers, _failed(exc))
        return not isinstance(exc, MemoryError)
    write_to(answers, Frame(DONE, answer.model_dump_json().encode(), body))
    return True


def _failed(error: Exception) -> Frame:
    match error:
        case MemoryError():
            failed = Failed(route="memory", reason="out of memory")
        case ConfigurationError():
            failed = Failed(route="configuration", reason=str(error))
        case Retryable():
            failed = Failed(route="retryable", reason=str(error))
        case Poison():
            failed = Failed(route="poison", reason=str(error))
        case _:
            failed = Failed(route="unforeseen", reason=type(error).__name__)
    return Frame(FAILED, failed.model_dump_json().encode())


def _listen(pipe: BinaryIO, questions: queue.SimpleQueue[Frame]) -> None:
    """In a thread, so that a parent's end is seen in the middle of work where the kernel sends no signal."""
    try:
        while (frame := read_from(pipe)) is not None:
            questions.put(frame)
    except MemoryError:
        os._exit(EXIT_MEMORY)
    os._exit(EXIT_LOST)


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends (Linux; elsewhere its pipe tells)."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it went while this process was starting
        os._exit(EXIT_LOST)


def _go_first() -> None:
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text(_OOM_SCORE)


if __name__ == "__main__":
    main(int(sys.argv[1]))
