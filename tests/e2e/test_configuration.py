"""A configuration is refused whole, with every fault, before anything is bound; a good one says so."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import jsonschema
import pytest
from harness.addresses import free_address, listens
from harness.process import ROOT
from harness.siding import BINARY
from harness.signing import SECRET

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

GOOD = {"SIDING_SECRET": SECRET}


def siding(*arguments, environment=None):
    """A command that ends by itself."""
    return subprocess.run(
        [BINARY, *map(str, arguments)], capture_output=True, text=True, timeout=10, env=environment or {}
    )


@pytest.fixture
def file(tmp_path):
    """Writes a configuration."""

    def write(text):
        path = tmp_path / "siding.toml"
        path.write_text(text)
        return path

    return write


FAULTY = """\
[server]
listen = ["{address}", "localhost"]
admin = "0.0.0.0"
drian = "60s"
keepalive = 5

[backend]
workers = 0
timeout = "25"
queue = {{ capacity = "many" }}

[handoff]
max_calls = 0

[providers.openai]
dialect = "openia"

[providers.local]
base_url = "localhost:9000"

[[routes]]
methods = ["get"]
"""


@pytest.mark.parametrize("command", ["check", "run"])
def test_every_fault_is_named_with_its_line_and_nothing_is_bound(command, file):
    address = free_address()
    path = file(FAULTY.format(address=address))
    ended = siding(command, "--config", path, environment={})
    assert ended.returncode == 64
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    for line, key in [
        (2, "server.listen"),
        (3, "server.admin"),
        (4, "drian"),
        (5, "server.keepalive"),
        (8, "backend.workers"),
        (9, "backend.timeout"),
        (10, "backend.queue.capacity"),
        (13, "handoff.max_calls"),
        (16, "providers.openai.dialect"),
        (19, "providers.local.base_url"),
        (22, "routes[0].methods"),
    ]:
        assert any(said.startswith(f"{path}:{line}: ") and key in said for said in lines), (line, key, lines)
    for missing in ("handoff.secret_env", "providers.openai.base_url", "providers.local.dialect", "routes[0].path"):
        assert any(missing in said for said in lines), (missing, lines)
    assert all(said.startswith(str(path)) for said in lines), lines
    assert not listens(address)


UNSHAREABLE = """\
[cache]
capacity = "1MiB"
max_entry = "2MiB"
max_followers = 0
scope = "everybody"
key_headers = ["no name"]
stale_if_error = "1h"

[[routes]]
path = "/a"
methods = ["PUT"]
cache = { ttl = "1h" }

[[routes]]
path = "/b"
cache = { ttl = "1h", scope = "app" }

[[routes]]
path = "/c"
cache = { ttl = "0s", stale_while_revalidate = "1h" }
"""


def test_every_fault_of_what_is_shared_is_named_with_its_line(file):
    path = file(UNSHAREABLE)
    ended = siding("check", "--config", path, environment=GOOD)
    assert ended.returncode == 64
    lines = ended.stderr.splitlines()
    for line, key in [
        (3, "cache.max_entry"),
        (4, "cache.max_followers"),
        (5, "cache.scope"),
        (6, "cache.key_headers"),
        (11, "routes[0].methods"),
        (16, "routes[1].cache.scope"),
        (20, "routes[2].cache.ttl"),
    ]:
        assert any(said.startswith(f"{path}:{line}: {key}: ") for said in lines), (line, key, lines)
    assert any(": cache.ttl: " in said for said in lines), lines


def test_a_file_that_is_no_toml_is_named_with_its_line(file):
    path = file("[server]\nlisten = [\n")
    ended = siding("check", "--config", path, environment=GOOD)
    assert ended.returncode == 64
    assert str(path) in ended.stderr
    assert "panicked" not in ended.stderr


def test_a_file_that_is_not_there_is_named(tmp_path):
    ended = siding("run", "--config", tmp_path / "none.toml", environment=GOOD)
    assert ended.returncode == 64
    assert "none.toml" in ended.stderr


@pytest.mark.parametrize("environment", [{}, {"SIDING_SECRET": ""}, {"SIDING_SECRET": "short"}])
def test_without_a_good_secret_it_does_not_start_and_says_how_to_make_one(environment):
    ended = siding("run", "--backend", "127.0.0.1:1", environment=environment)
    assert ended.returncode == 64
    assert "SIDING_SECRET" in ended.stderr or "secret" in ended.stderr
    assert "openssl rand -hex 32" in ended.stderr
    assert "short\n" not in ended.stderr


def test_a_secret_is_not_needed_without_hand_off():
    assert siding("check", "--no-handoff").returncode == 0


def test_a_secret_is_never_printed(file):
    path = file("[backend]\nworkers = 0\n")
    ended = siding("check", "--config", path, environment=GOOD)
    assert SECRET not in ended.stdout + ended.stderr


def test_the_reference_is_itself_a_valid_configuration(file):
    printed = siding("defaults")
    assert (printed.returncode, printed.stderr) == (0, "")
    checked = siding("check", "--config", file(printed.stdout), environment=GOOD)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr


def test_the_reference_names_a_command_that_exists(file):
    assert "siding check FILE" not in siding("defaults").stdout or (
        siding("check", file(""), environment=GOOD).returncode == 0
    )


def test_a_good_configuration_is_said_to_be_good(file):
    checked = siding("check", "--config", file(""), environment=GOOD)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "valid" in checked.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_and_version_are_no_errors(arguments):
    ended = siding(*arguments)
    assert ended.returncode == 0
    assert ended.stdout
    assert not ended.stderr


@pytest.mark.parametrize("arguments", [[], ["serve"], ["run", "--bakend", "x"], ["run", "--backend", "nowhere"]])
def test_a_wrong_command_line_is_refused(arguments):
    ended = siding(*arguments, environment=GOOD)
    assert ended.returncode == 64
    assert ended.stderr
    assert "panicked" not in ended.stderr


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ('{ cert = "/none.crt", key = "/none.key" }', "/none.crt"),
        ('{ cert = "siding.toml", key = "siding.toml" }', "no certificate"),
        ("{}", "server.tls"),
    ],
)
def test_certificates_that_cannot_be_used_are_named(tls, said, file):
    path = file(f"[server]\ntls = {tls}\n")
    ended = subprocess.run(
        [BINARY, "run", "--config", path], capture_output=True, text=True, timeout=10, env=GOOD, cwd=path.parent
    )
    assert ended.returncode == 64
    assert said in ended.stderr
    assert "panicked" not in ended.stderr


SCHEMA = json.loads((ROOT / "config" / "siding.schema.json").read_text())
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in PAGES
    for number, text in enumerate(re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
]


def reasons(text: str) -> list[str]:
    """Why the schema refuses a configuration."""
    errors = jsonschema.Draft7Validator(SCHEMA).iter_errors(tomllib.loads(text))
    return [f"{error.json_path}: {error.message}" for error in errors]


def test_the_schema_is_one_and_is_printed():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert json.loads(siding("schema").stdout) == SCHEMA


def test_the_schema_takes_the_reference():
    reference = siding("defaults").stdout
    assert reasons(reference) == []
    everything = re.sub(r"^# (?=(\[.*\]|[a-z_0-9]+ = .*)$)", "", reference, flags=re.MULTILINE)
    assert len(tomllib.loads(everything)["routes"][0]) > 5, "what is commented out is there"
    assert reasons(everything) == []


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_schema_takes_the_examples_of_the_pages(text):
    # Some show a part of a provider.
    assert reasons(text) == [] or reasons(f"[providers.a]\n{text}") == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("serve = {}", "$"),
        ("server.drian = '60s'", "$.server"),
        ("providers.a.timeout.forever = '1s'", "$.providers.a.timeout"),
        ("routes = [{path = '/a', clas = 'batch'}]", "$.routes[0]"),
        ("routes = [{path = 'a'}]", "$.routes[0].path"),
        ("routes = [{path = '/a', background = {hook = 'x'}}]", "$.routes[0].background"),
        ("backend.timeout = 25", "$.backend.timeout"),
        ("backend.timeout = '25'", "$.backend.timeout"),
        ("server.max_body = '8 bananas'", "$.server.max_body"),
        ("server.listen = ['localhost']", "$.server.listen[0]"),
        ("backend.workers = -1", "$.backend.workers"),
        ("log.format = 'xml'", "$.log.format"),
        ("providers.a.dialect = 'klingon'", "$.providers.a.dialect"),
        ("providers.a.breaker = true", "$.providers.a.breaker"),
    ],
)
def test_the_schema_refuses_what_siding_refuses(text, place, file):
    assert [reason.partition(": ")[0] for reason in reasons(text)] == [place]
    assert siding("check", "--config", file(text), environment=GOOD).returncode == 64


@pytest.mark.parametrize("text", ["server.drain = '1h 30m'", "server.drain = '0s'", "server.max_body = '1.5 MB'"])
def test_the_schema_takes_what_siding_takes(text, file):
    assert reasons(text) == []
    assert siding("check", "--config", file(text), environment=GOOD).stdout == "the configuration is valid\n"
