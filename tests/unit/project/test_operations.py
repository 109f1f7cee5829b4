"""The operations guide says of each variable what the code does, and the code has no other."""

import ast
import re
from pathlib import Path

import pytest

from producer.gateway.settings import GatewaySettings
from shared.broker.queues import QUEUES
from shared.reader import Settings
from shared.settings import ServiceSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[3]
HOME = {"HOME": "/home/someone"}
IN_WORDS = {
    "RMBG_S3_ENDPOINT": ("AWS", lambda s: s.services.objects.endpoint is None),
    "RMBG_S3_ACCESS_KEY_ID": ("boto3's chain", lambda s: s.services.objects.access_key_id is None),
    "RMBG_S3_SECRET_ACCESS_KEY": (
        "boto3's chain",
        lambda s: s.services.objects.secret_access_key is None,
    ),
    "RMBG_S3_REQUEST_PAYER": ("off", lambda s: s.services.objects.request_payer is None),
    "RMBG_WEIGHTS_URL": ("", lambda s: s.services.weights_url is None),
    "HF_TOKEN": ("", lambda s: s.services.hf_token is None),
    "RMBG_WEIGHTS": ("", lambda s: s.weights is None),
    "RMBG_INTERACTIVE_SLOTS": ("batch size", lambda s: s.interactive_slots is None),
    "RMBG_BATCH_SIZE": ("by device", lambda s: s.batch_size is None),
    "RMBG_MAX_ITEMS": ("by device", lambda s: s.max_items is None),
    "RMBG_BUDGET_PX": ("by device", lambda s: s.budget_px is None),
    "RMBG_BUDGET_BYTES": ("by device", lambda s: s.budget_bytes is None),
    "RMBG_IO_THREADS": ("by device", lambda s: s.io_threads is None),
    "RMBG_CPU_THREADS": ("by device", lambda s: s.cpu_threads is None),
    "RMBG_BATCH_WAIT_S": ("by device", lambda s: s.batch_wait_s is None),
    "RMBG_MAX_RSS_BYTES": ("by device", lambda s: s.max_rss_bytes is None),
    "RMBG_HTTP": ("off", lambda s: s.http is None),
    "RMBG_S3_PUBLIC_ENDPOINT": ("off", lambda s: s.services.objects.public_endpoint is None),
}
"""Defaults that are no values: how the guide says them, and what they are."""


def documented():
    """Return the guide's variables, with the heading they stand under and their default."""
    found, heading = {}, ""
    for line in (ROOT / "docs/operations.md").read_text().splitlines():
        if line.startswith("### "):
            heading = line.removeprefix("### ")
        if row := re.fullmatch(r"\| `(RMBG_\w+|HF_TOKEN)` \|(.*?)\|(.*?)\|(.*)\|", line):
            name, _unit, default, meaning = row.groups()
            assert name not in found, name
            assert meaning.strip() or default.strip(), name
            found[name] = (heading, default.strip())
    return found


EVERY = documented()
GATEWAY = {name: row for name, row in EVERY.items() if row[0] == "Gateway"}
DOCUMENTED = {name: row for name, row in EVERY.items() if name not in GATEWAY}


def read_by(settings):
    """Return the variables that a class of settings reads."""
    names = {field.validation_alias for field in settings.model_fields.values()} - {""}
    for field in settings.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            names |= read_by(field.annotation)
    return names


def test_what_both_ends_read_stands_in_the_guide_and_nothing_else():
    told = {name for name, (heading, _) in DOCUMENTED.items() if heading == "Both ends"}

    assert told == read_by(ServiceSettings)


def test_what_workers_read_stands_in_the_guide_and_nothing_else():
    assert set(DOCUMENTED) == read_by(WorkerSettings)
    told = {name for name, (heading, _) in DOCUMENTED.items() if heading == "Workers"}
    assert told == read_by(WorkerSettings) - read_by(ServiceSettings)


def test_what_the_gateway_reads_stands_in_the_guide_and_nothing_else():
    assert set(GATEWAY) == read_by(GatewaySettings) - read_by(ServiceSettings)


@pytest.mark.parametrize("name", sorted(set(GATEWAY) - {"RMBG_GATEWAY_UPLOAD_BUCKET"}))
def test_the_default_of_the_gateway_in_the_guide_is_the_codes(name):
    value = GATEWAY[name][1].strip("`")
    words = {"RMBG_GATEWAY_PREVIEW": "full", "RMBG_GATEWAY_WEBHOOK_SECRETS": "s" * 32}
    word = words.get(name, "elsewhere")
    other = word if not value.isdigit() else str(int(value) + 1)
    unset = GatewaySettings.from_env(HOME)

    assert GatewaySettings.from_env(HOME | {name: value}) == unset
    assert GatewaySettings.from_env(HOME | {name: other}) != unset


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_the_default_in_the_guide_is_the_codes(name):
    """Setting a variable to its default changes nothing."""
    default = DOCUMENTED[name][1]
    unset = WorkerSettings.from_env(HOME)
    if name in IN_WORDS:
        words, is_so = IN_WORDS[name]
        assert default == words
        assert is_so(unset)
        return

    value = re.fullmatch(r"`(.+)`", default)[1].replace("${XDG_CACHE_HOME:-~/.cache}", "~/.cache")

    assert WorkerSettings.from_env(HOME | {name: value}) == unset


@pytest.mark.parametrize("name", sorted(set(DOCUMENTED) - set(IN_WORDS)))
def test_a_value_that_is_not_the_default_does_change_something(name):
    """Otherwise the comparison above would prove nothing."""
    other = {
        "RMBG_REDIS_URL": "redis://elsewhere:6379/0",
        "RMBG_S3_ADDRESSING": "virtual",
        "RMBG_S3_CONDITIONAL": "off",
        "RMBG_MEASURE": "0",
        "RMBG_CHECK_SERVICES": "0",
        "RMBG_OBJECTS": "boto3",
        "RMBG_DEVICE": "cpu",
        "RMBG_PRECISION": "fp32",
        "RMBG_BACKEND": "eager",
    }
    value = other.get(name) or next(
        value for value in ("1", "7", "elsewhere") if f"`{value}`" != DOCUMENTED[name][1]
    )
    if name in ("RMBG_INPUT_BUCKETS", "RMBG_OUTPUT_BUCKET"):
        value = "elsewhere"

    assert WorkerSettings.from_env(HOME | {name: value}) != WorkerSettings.from_env(HOME)


def test_no_other_code_reads_a_variable_that_the_guide_does_not_know():
    """A name that ends in an underscore stands for several."""
    named = set()
    for package in ("shared", "producer", "worker"):
        for file in (ROOT / package).rglob("*.py"):
            named |= set(re.findall(r"\b(?:RMBG_[A-Z0-9_]+|HF_TOKEN)\b", file.read_text()))

    assert {name for name in named if not name.endswith("_")} == set(EVERY)


def test_each_variable_of_the_compose_file_is_one_of_them():
    text = (ROOT / "docker-compose.yml").read_text()
    used = set(re.findall(r"RMBG_[A-Z0-9_]*[A-Z0-9]", text))

    assert used - set(EVERY) == {"RMBG_WEIGHTS_DIR"}  # compose's own, in .env


def test_flower_is_told_the_names_of_all_queues():
    """Its image has nothing of ours, so they are written down a second time."""
    module = ast.parse((ROOT / "deploy/flower/queues.py").read_text())
    [names] = [
        node.value
        for node in module.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "NAMES"
    ]

    assert ast.literal_eval(names) == QUEUES
