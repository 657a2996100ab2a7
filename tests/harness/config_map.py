"""A ConfigMap as the kubelet mounts it: files are links into a directory, itself behind a link, that is replaced as a
whole."""

from __future__ import annotations

import itertools
import os
from pathlib import Path


class ConfigMapMount:
    """The directory that a container sees."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.folder = folder
        self._versions = itertools.count(1)
        folder.mkdir(parents=True)
        self.update(files)
        for name in files:
            (folder / name).symlink_to(f"..data/{name}")

    def update(self, files: dict[str, str]) -> None:
        """The five steps of an update: a new directory, a link to it renamed over the old one, the old one removed."""
        version = self.folder / f"..version-{next(self._versions)}"
        version.mkdir()
        for name, text in files.items():
            (version / name).write_text(text)
        link, new_link = self.folder / "..data", self.folder / "..data_tmp"
        new_link.symlink_to(version.name)
        old = self.folder / os.readlink(link) if link.is_symlink() else None
        new_link.rename(link)
        if old:
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
