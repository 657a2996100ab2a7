"""One client for each SDK and process, made at the first use: making one costs tens of milliseconds.

Keys and base URLs come from the environment, as the SDKs' own documentation has it. Retries are off: whoever
is in front of the provider retries, and two layers of retries multiply.
"""

from __future__ import annotations

import os
from functools import cache

import anthropic
import httpx
import openai
import requests
from google import genai
from google.genai import types

OPENAI_MODEL = os.environ.get("OPENAI_MODEL", "gpt-4.1-mini")
ANTHROPIC_MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-4-5")
GEMINI_MODEL = os.environ.get("GEMINI_MODEL", "gemini-2.5-flash")
TIMEOUT_SECONDS = float(os.environ.get("LLM_TIMEOUT", "60"))
MAX_TOKENS = 1024


def openai_base_url() -> str:
    """With the version, as the SDK wants it."""
    return os.environ.get("OPENAI_BASE_URL", "https://api.openai.com/v1").rstrip("/")


def openai_key() -> str:
    """Simulated providers take any key."""
    return os.environ.get("OPENAI_API_KEY", "sk-example")


def new_openai_client() -> openai.OpenAI:
    """For the OpenAI API."""
    return openai.OpenAI(base_url=openai_base_url(), api_key=openai_key(), max_retries=0, timeout=TIMEOUT_SECONDS)


@cache
def openai_client() -> openai.OpenAI:
    """For the OpenAI API."""
    return new_openai_client()


@cache
def async_openai_client() -> openai.AsyncOpenAI:
    """For the OpenAI API, in the one event loop that a process has."""
    return openai.AsyncOpenAI(base_url=openai_base_url(), api_key=openai_key(), max_retries=0, timeout=TIMEOUT_SECONDS)


@cache
def anthropic_client() -> anthropic.Anthropic:
    """For the Anthropic API."""
    return anthropic.Anthropic(
        base_url=os.environ.get("ANTHROPIC_BASE_URL"),
        api_key=os.environ.get("ANTHROPIC_API_KEY", "sk-ant-example"),
        max_retries=0,
        timeout=TIMEOUT_SECONDS,
    )


@cache
def gemini_client() -> genai.Client:
    """For the Gemini API; its time-out is in milliseconds."""
    return genai.Client(
        api_key=os.environ.get("GEMINI_API_KEY", "example"),
        http_options=types.HttpOptions(base_url=os.environ.get("GEMINI_BASE_URL"), timeout=int(TIMEOUT_SECONDS * 1000)),
    )


@cache
def httpx_client() -> httpx.Client:
    """For calls without an SDK."""
    return httpx.Client(timeout=TIMEOUT_SECONDS)


@cache
def requests_session() -> requests.Session:
    """For calls without an SDK."""
    return requests.Session()
