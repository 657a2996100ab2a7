"""What the programs of this folder have in common: each asks through one library, as its users do, and prints what it
got; run with the Python that has the libraries.

Standard input: {"bases": {dialect: URL without a version}, "headers": {...}, "cases": [{"api", "form", "prompt", "key",
"timeout", "retries"}, ...]}. Standard output: the outcome of each case, {"returned": ...} or {"raised": {"type",
"status", "message", "body"}}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

AT_ONCE = 4
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Forecast(BaseModel):
    """What a structured answer is to be."""

    city: str
    days: int
    warnings: list[str]


@dataclass
class Case:
    """One call. `retries` are the library's own where it is None; `base` is where it goes."""

    api: str
    form: str
    prompt: str
    key: str
    timeout: float
    retries: int | None
    bases: dict[str, str]
    headers: dict[str, str]

    @property
    def patience(self) -> dict[str, Any]:
        """Arguments of those clients that are made as OpenAI's is."""
        own = {} if self.retries is None else {"max_retries": self.retries}
        return {"api_key": self.key, "timeout": self.timeout, "default_headers": self.headers, **own}


def main(apis: dict[str, Callable[[Case], Any]]) -> None:
    told = json.load(sys.stdin)
    cases = [Case(**case, bases=told["bases"], headers=told["headers"]) for case in told["cases"]]

    def outcome(case: Case) -> dict[str, Any]:
        try:
            return {"returned": plain(apis[case.api](case))}
        except Exception as error:
            return {"raised": raised(error)}

    with ThreadPoolExecutor(AT_ONCE) as threads:
        print(json.dumps(list(threads.map(outcome, cases))))


def plain(value: Any) -> Any:
    """Models as JSON has them, with the type of each that a library made."""
    if isinstance(value, BaseModel):
        return {"is": type(value).__name__, **value.model_dump(mode="json", warnings=False)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def raised(error: Exception) -> dict[str, Any]:
    """What a caller can tell of an exception."""
    kind = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"
    status = getattr(error, "status_code", getattr(error, "code", None))
    body = getattr(error, "body", getattr(error, "details", None))
    return {"type": kind, "status": status, "message": str(error), "body": body if is_plain(body) else str(body)}


def is_plain(value: Any) -> bool:
    """Whether JSON has such values."""
    return value is None or isinstance(value, (dict, list, str, int))
