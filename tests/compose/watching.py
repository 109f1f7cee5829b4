"""Looks at what Prometheus makes of the workers, and tries the alerts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Final

from calls import ROOT, Compose, Failed, docker, say, until

IMAGE: Final = "prom/prometheus:v3.5.0"
ADDRESS: Final = "http://127.0.0.1:9090"
SEEN_S: Final = 75.0
"""Twice the 15 s of finding targets and 15 s between scrapes, and room."""


def start(compose: Compose) -> None:
    """Start Prometheus as the profile `metrics` has it, without Grafana."""
    compose("--profile", "metrics", "up", "-d", "prometheus")


def check_alerts() -> None:
    """Have Prometheus' own tool read its files, and run the tests of the alerts."""
    tool = ["run", "--rm", "-v", f"{ROOT}:/src:ro", "--entrypoint", "promtool", IMAGE]
    docker(*tool, "check", "config", "/src/deploy/prometheus.yml")
    docker(*tool, "check", "rules", "/src/deploy/alerts.yml")
    docker(*tool, "test", "rules", "/src/tests/compose/alerts_test.yml")
    say("promtool accepts prometheus.yml and alerts.yml; tests of the alerts pass")


def check_watched(workers: int) -> None:
    """See that Prometheus reaches every worker and has evaluated every rule."""
    until(f"Prometheus reaches {workers} workers", lambda: _up() == workers, within_s=SEEN_S)
    rules = until("every rule was evaluated", _evaluated, within_s=SEEN_S)
    firing = [rule["name"] for rule in rules if rule["state"] == "firing"]
    say("rules:", {"loaded": len(rules), "firing": firing})
    if bad := [rule["name"] for rule in rules if rule["health"] != "ok"]:
        raise Failed(f"rules with errors: {bad}")


def _up() -> int:
    found = _ask("/api/v1/query?query=sum(up)")
    return int(found["result"][0]["value"][1]) if found.get("result") else 0


def _evaluated() -> list[dict[str, str]]:
    rules = [rule for group in _ask("/api/v1/rules").get("groups", []) for rule in group["rules"]]
    return [] if any(rule["health"] == "unknown" for rule in rules) else rules


def _ask(path: str) -> dict[str, list]:
    try:
        with urllib.request.urlopen(ADDRESS + path, timeout=5) as answer:
            return json.load(answer)["data"]
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}
