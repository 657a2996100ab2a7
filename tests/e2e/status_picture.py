"""docs/status.png: the status page while the demo's app is under the demo's load, for some minutes.

    python tests/e2e/status_picture.py DIRECTORY [OUTPUT]

DIRECTORY keeps the environments, as for run.py. If the folder OUTPUT is named, four pictures go there instead: wide
and narrow, light and dark.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
sys.path.insert(0, str(TESTS))

import run  # noqa: E402
from harness import browser  # noqa: E402
from harness.backend import ChatProject  # noqa: E402
from harness.browser import View  # noqa: E402
from harness.environments import cells, node_environment  # noqa: E402
from harness.load_driver import LoadDriver, asking  # noqa: E402
from harness.siding import Siding  # noqa: E402
from harness.signing import SECRET  # noqa: E402
from harness.simulated_llm import SimulatedLLM  # noqa: E402

WORKERS = 4
# A curve needs time.
MINUTES = 3.0
# What a README may weigh.
MOST_BYTES = 200 * 1024
ADMIN = "127.0.0.1:9180"
SETTINGS = {
    "server": {"threads": 0, "admin": ADMIN},
    "log": {"filter": "warn"},
    "backend": {"workers": WORKERS},
    "cache": {"ttl": "10m"},
    "prices": {"gpt-4.1-mini": {"input": 0.15, "output": 0.6}},
    "routes": [
        {"path": "/api/chat/anthropic/", "class": "batch"},
        {"path": "/api/chat/**", "class": "batch"},
        {"path": "/api/relay/**"},
        {"path": "/llm/**", "terminate": {"provider": "spare", "public": True, "strip": "/llm"}},
    ],
    # One that is out.
    "providers": {"spare": {"dialect": "openai", "base_url": "http://127.0.0.1:9", "breaker": {"minimum": 5}}},
}
# What is asked for at the same time, beside the chats: path, flags of the driver.
OTHERS = [
    ("/api/fast/", ["--rate", "15"]),
    ("/api/relay/", ["--rate", "1.5", "--body-template", '{"prompt": "Tell me about siding {n}."}']),
    ("/api/chat/anthropic/", ["--rate", "2", "--body-template", '{"prompt": "Why do trains wait?"}']),
    ("/api/chat/", ["--rate", "3", "--body-template", '{"prompt": "What is a siding?"}']),
    ("/api/chat/", ["--rate", "0.2", "--body-template", '{"prompt": "[status=503] Question {n}"}']),
    ("/api/status/500/", ["--rate", "0.03"]),
    ("/llm/v1/chat/completions", ["--rate", "0.3", "--body-template", '{"model": "m", "messages": [], "n": "{n}"}']),
]


def main() -> int:
    """The exit code."""
    directory, output = Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    python = run.app(directory, cells()[-1])
    node = node_environment(directory, "js", TESTS / "e2e" / "js")
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="siding-status-")))
        llm = stack.enter_context(SimulatedLLM(scratch, latency="2s"))
        environment = {**llm.sdk_environment(), "SIDING_SECRET": SECRET}
        backend = stack.enter_context(
            ChatProject(scratch, workers=WORKERS, python=str(python), environment=environment)
        )
        siding = stack.enter_context(Siding(scratch, backend.address, llm.providers(), SETTINGS))
        siding.until_app()
        loads = [("/api/chat/", asking(24)), *OTHERS]
        for number, (path, flags) in enumerate(loads):
            folder = scratch / str(number)
            folder.mkdir()
            token = ["--token", backend.token, "--duration", "1h"]
            stack.enter_context(LoadDriver(folder, f"{siding.url}{path}", *flags, *token))
        time.sleep(MINUTES * 60)
        browser.visit(node, f"http://{ADMIN}/", pictures(output, scratch))
        if output is None:
            keep((scratch / "status.png").read_bytes())
    return 0


def pictures(output: Path | None, scratch: Path) -> list[View]:
    """What is photographed."""
    if output is None:
        return [View(1280, 894, "light", str(scratch / "status.png"))]
    output.mkdir(parents=True, exist_ok=True)
    return [
        View(*size, scheme, str(output / f"{size[0]}-{scheme}.png"), whole=True)
        for size in (browser.PHONE, browser.DESK)
        for scheme in ("light", "dark")
    ]


def keep(picture: bytes) -> None:
    """As the README shows it."""
    assert len(picture) <= MOST_BYTES, f"the picture has {len(picture)} bytes"
    (ROOT / "docs" / "status.png").write_bytes(picture)


if __name__ == "__main__":
    sys.exit(main())
