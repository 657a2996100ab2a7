"""Fixtures: each test starts its own programs, so that their counters tell of that test alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "load"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.scripted_worker import ScriptedWorker
from harness.siding import Siding
from harness.simulated_llm import SimulatedLLM
from harness.steps import Script, Step, always


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test started, also when it fails."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture(scope="session")
def session_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this session have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture
def llm(stack: ExitStack, tmp_path: Path) -> SimulatedLLM:
    """A simulated provider."""
    return stack.enter_context(SimulatedLLM(tmp_path))


@pytest.fixture
def scripted(stack: ExitStack) -> Callable[..., ScriptedWorker]:
    """Starts a scripted server: `scripted(step_or_script)`."""

    def start(script: Step | Script, **options: Any) -> ScriptedWorker:
        chosen = always(script) if isinstance(script, Step) else script
        return stack.enter_context(ScriptedWorker(chosen, **options))

    return start


@pytest.fixture
def siding(stack: ExitStack, tmp_path: Path) -> Callable[..., Siding]:
    """Starts the proxy: `siding(backend, providers, settings)`."""

    def start(backend: Any, providers: Any = None, settings: dict[str, Any] | None = None, **options: Any) -> Siding:
        address = getattr(backend, "address", backend)
        return stack.enter_context(Siding(tmp_path, address, providers, settings, **options))

    return start
