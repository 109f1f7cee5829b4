"""Check that Prometheus scrapes the workers, and test the alerts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Final

from commands import ROOT, CheckFailed, Compose, docker, report, wait_for

IMAGE: Final = "prom/prometheus:v3.5.0"
ADDRESS: Final = "http://127.0.0.1:9090"
SCRAPED_S: Final = 75.0
"""Twice the 15 s between discoveries plus the 15 s between scrapes, and some slack."""


def start(compose: Compose) -> None:
    """Start Prometheus of the profile `metrics`, without Grafana."""
    compose("--profile", "metrics", "up", "-d", "prometheus")


def check_alerts() -> None:
    """Check Prometheus' files and run the tests of the alerts with `promtool`."""
    tool = ["run", "--rm", "-v", f"{ROOT}:/src:ro", "--entrypoint", "promtool", IMAGE]
    docker(*tool, "check", "config", "/src/deploy/prometheus.yml")
    docker(*tool, "check", "rules", "/src/deploy/alerts.yml")
    docker(*tool, "test", "rules", "/src/tests/compose/alerts_test.yml")
    report("promtool accepts prometheus.yml and alerts.yml; the tests of the alerts pass")


def check_scraped(workers: int) -> None:
    """Check that Prometheus reaches every worker and has evaluated every rule."""
    wait_for(f"Prometheus reaches {workers} workers", lambda: _up() == workers, within_s=SCRAPED_S)
    rules = wait_for("every rule was evaluated", _evaluated, within_s=SCRAPED_S)
    firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
    report("rules:", {"loaded": len(rules), "firing": firing})
    if bad := [rule["name"] for rule in rules if rule["health"] != "ok"]:
        raise CheckFailed(f"rules with errors: {bad}")


def _up() -> int:
    found = _request("/api/v1/query?query=sum(up)")
    return int(found["result"][0]["value"][1]) if found.get("result") else 0


def _evaluated() -> list[dict[str, str]]:
    rules = [
        rule for group in _request("/api/v1/rules").get("groups", []) for rule in group["rules"]
    ]
    return [] if any(rule["health"] == "unknown" for rule in rules) else rules


def _request(path: str) -> dict[str, list]:
    try:
        with urllib.request.urlopen(ADDRESS + path, timeout=5) as answer:
            return json.load(answer)["data"]
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}
