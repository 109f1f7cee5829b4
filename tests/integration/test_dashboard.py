"""Dashboard and alerts query metrics and labels that a real worker exports."""

import json
import re
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from support.asking import ANY_PORT, samples
from support.promql import names_in
from support.servers import own_bucket
from support.until import until
from support.workers import MODEL, WorkerProcess

from producer.client import Client
from shared.objects import S3Store
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"
BUCKET = "dashboard"
OF_PROMETHEUS = {"up": {"job", "instance"}}
"""Metrics that Prometheus itself creates, and the labels that it adds to each metric."""


def read_yaml(name):
    return YAML(typ="safe").load(DEPLOY / name)


def board():
    return json.loads((DEPLOY / "grafana/dashboards/rmbg.json").read_text())


def queries():
    return {
        f"{panel['title']}: {target['expr']}": target
        for panel in board()["panels"]
        for target in panel.get("targets", [])
    }


def alerts():
    groups = read_yaml("alerts.yml")["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


EXPRESSIONS = {name: target["expr"] for name, target in queries().items()} | alerts()


@pytest.fixture(scope="module")
def exported(servers):
    """Labels and their values by metric, as exported by a worker that is processing a job."""
    env = servers.settings() | {"RMBG_INPUT_BUCKETS": BUCKET, "RMBG_OUTPUT_BUCKET": BUCKET}
    settings = ServiceSettings.from_env(env)
    with own_bucket(servers, BUCKET):
        return _exported(env, settings)


def _exported(env, settings):
    store, client = S3Store(settings.objects), Client(settings)
    keys = [f"in/{n}" for n in range(200)]
    for n, key in enumerate(keys):
        store.put(BUCKET, key, b"%d" % n, content_type="image/jpeg")
    options = {"quick": True, "batch_size": 4, "image_s": 0.1}
    with closing(WorkerProcess(env | {"RMBG_HTTP": ANY_PORT}, **options)) as worker:
        worker.wait_ready()
        client.submit(keys, rem_mode=MODEL)
        # The rate is measured over a few seconds of work, and the backlog depends on it.
        until(
            lambda: "rmbg_backlog_seconds" in {sample.name for sample in samples(worker)},
            within_s=60,
        )
        found = defaultdict(lambda: defaultdict(set))
        for sample in samples(worker):
            found[sample.name]["instance"] = found[sample.name]["job"] = set()
            for label, value in sample.labels.items():
                found[sample.name][label].add(value)
    return found


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_each_metric_is_exported_by_a_worker(exported, name):
    names = names_in(EXPRESSIONS[name])

    assert names.metrics, "no metric found in the expression"
    assert names.metrics <= set(exported) | set(OF_PROMETHEUS)


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_each_label_exists_on_its_metrics(exported, name):
    names = names_in(EXPRESSIONS[name])
    labels = [
        OF_PROMETHEUS[metric] if metric in OF_PROMETHEUS else set(exported[metric])
        for metric in names.metrics
    ]

    assert names.labels <= set.union(*labels)
    for metric, label, operator, value in names.matchers:
        if metric in OF_PROMETHEUS or label == "job":
            assert (label, value) == ("job", "rmbg-worker")
            continue
        pattern = value if operator == "=~" else re.escape(value)
        assert any(re.fullmatch(pattern, seen) for seen in exported[metric][label]), (metric, label)


@pytest.mark.parametrize("name", queries())
def test_legends_use_labels_that_the_query_keeps(exported, name):
    target = queries()[name]
    names = names_in(target["expr"])
    kept = names.labels or {"instance"}

    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept


def test_every_metric_that_counts_problems_has_an_alert_or_a_panel(exported):
    queried = set().union(*(names_in(expression).metrics for expression in EXPRESSIONS.values()))
    problems = {"rmbg_alive", "rmbg_ready", "rmbg_breaker_open", "rmbg_job_store_up"}
    problems |= {name for name in exported if re.search("lost|retries|stalled|lag", name)}

    assert {name for name in problems if not name.endswith("_created")} <= queried


def test_the_parser_finds_metrics_labels_and_matchers():
    names = names_in(
        'sum by (le, a_label) (rate(one_total{result=~"done|two", x="y"}[5m])) '
        "> 0.1 * three unless on (four) five:six offset 5m and max(seven) > bool 4"
    )

    assert names.metrics == {"one_total", "three", "five:six", "seven"}
    assert names.labels == {"le", "a_label", "four"}
    assert ("one_total", "result", "=~", "done|two") in names.matchers


# --- the files around them


def test_panels_do_not_overlap_and_have_unique_ids():
    panels = board()["panels"]
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_panel_uses_the_provisioned_data_source():
    [source] = read_yaml("grafana/provisioning/datasources/prometheus.yml")["datasources"]

    for panel in board()["panels"]:
        for part in [panel, *panel.get("targets", [])]:
            if panel["type"] != "row":
                assert part["datasource"] == {"type": source["type"], "uid": source["uid"]}


def test_alerts_have_a_severity_and_a_summary():
    for group in read_yaml("alerts.yml")["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("critical", "warning", "info")
            assert rule["annotations"]["summary"].endswith(".")


def test_each_alert_has_a_case_where_it_fires_and_one_where_it_does_not():
    """`promtool` runs the cases in `make compose`, where there is a Docker engine."""
    tests = YAML(typ="safe").load(DEPLOY.parent / "tests/compose/alerts_test.yml")["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]

    for expects in (True, False):
        seen = [check["alertname"] for check in checks if bool(check["exp_alerts"]) is expects]
        assert set(seen) == set(alerts())


def test_prometheus_uses_the_service_names_and_the_port_of_the_compose_file():
    compose = YAML(typ="safe").load(DEPLOY.parent / "docker-compose.yml")
    [job] = read_yaml("prometheus.yml")["scrape_configs"]
    [found] = job["dns_sd_configs"]

    assert job["job_name"] == "rmbg-worker"
    for name in found["names"]:
        address = compose["services"][name]["environment"]["RMBG_HTTP"]
        assert address == f"0.0.0.0:{found['port']}"
