"""What the product is for: one synchronous worker and many chats that wait for a model."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import chat_project
import pytest
from chat_project import is_answer_to

CHATS = 200
# So long that every first pass is over before the first answer comes, on a machine that does other things besides.
LATENCY_SECONDS = 6


@pytest.mark.parametrize("django", chat_project.pythons())
def test_one_sync_worker_serves_200_chats_while_they_all_wait_for_the_model(tmp_path: Path, django: str) -> None:
    python = chat_project.pythons()[django]
    options = {"server": "gunicorn-sync", "python": python, "behind_siding": True, "pool": (1, 1)}
    with chat_project.running(tmp_path, latency=f"{LATENCY_SECONDS}s", **options) as chat:
        prompts = [f"chat {n} of {CHATS}" for n in range(CHATS)]
        began = time.monotonic()
        with ThreadPoolExecutor(CHATS) as clients:
            answers = list(clients.map(chat.ask, prompts))
        took = time.monotonic() - began
        stats = chat.llm.stats()
        print(f"{CHATS} chats of {LATENCY_SECONDS} s in {took:.1f} s, {stats['max_in_flight']} calls at once")

        assert [answer.status for answer in answers] == [200] * CHATS
        assert all(is_answer_to(prompt, answer.json["answer"]) for prompt, answer in zip(prompts, answers, strict=True))
        assert stats["total"] == CHATS
        assert stats["max_in_flight"] > CHATS / 2, "the worker was held while the model thought"
        # A worker that waits needs 400 s. The bound tells that from any machine's slowness.
        assert took < CHATS * LATENCY_SECONDS / 4
        for prompt, answer in zip(prompts, answers, strict=True):
            assert chat.rows(prompt) == [("user", prompt), ("assistant", answer.json["answer"])]
