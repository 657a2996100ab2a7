"""Act on a module when it is imported, without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Action = Callable[[ModuleType], None]


def when_imported(name: str, action: Action) -> None:
    module = sys.modules.get(name)
    if module is not None:
        action(module)
    else:
        _watcher().actions[name] = action


class Watcher(MetaPathFinder):
    """Finds nothing itself: it lets the other finders do so and adds an action to the loader."""

    def __init__(self) -> None:
        self.actions: dict[str, Action] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        action = self.actions.get(fullname)
        if action is None:
            return None
        spec = self._find_elsewhere(fullname, path, target)
        if spec is not None and spec.loader is not None:
            self._follow(spec.loader, fullname, action)
        return spec

    def _find_elsewhere(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(fullname, path, target)
                if spec is not None:
                    return spec
        return None

    def _follow(self, loader: Any, fullname: str, action: Action) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            # Some loaders serve many modules.
            if module.__name__ == fullname:
                self.actions.pop(fullname, None)
                action(module)

        loader.exec_module = exec_module


def _watcher() -> Watcher:
    for finder in sys.meta_path:
        if isinstance(finder, Watcher):
            return finder
    watcher = Watcher()
    sys.meta_path.insert(0, watcher)
    return watcher
