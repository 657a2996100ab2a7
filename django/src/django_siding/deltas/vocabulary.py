"""The pieces of an answer, in words that are the same for every API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """Some text, or the words of a refusal."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """Some of the model's thoughts."""

    text: str


@dataclass(frozen=True)
class BlockEnd:
    """What follows is not of the same text or thought."""


@dataclass(frozen=True)
class ToolStart:
    """The model begins to call a tool; the answer's calls are numbered from 0."""

    call: int
    id: str
    name: str
    takes_text: bool


@dataclass(frozen=True)
class ToolInput:
    call: int
    fragment: str


@dataclass(frozen=True)
class ToolEnd:
    call: int


@dataclass(frozen=True)
class Source:
    """A page on the web that the answer rests on."""

    url: str
    title: str


@dataclass(frozen=True)
class Finish:
    """Why the answer ends: stop, length, content-filter, tool-calls, error or other."""

    reason: str


@dataclass(frozen=True)
class Failure:
    """The provider reports that it failed; nothing of use follows."""

    message: str


Delta = Text | Reasoning | BlockEnd | ToolStart | ToolInput | ToolEnd | Source | Finish | Failure
