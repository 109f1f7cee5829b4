"""Read the HTTP endpoints of a worker process."""

from __future__ import annotations

import http.client

from prometheus_client.parser import text_string_to_metric_families

from support.until import until

ANY_PORT = "127.0.0.1:0"
"""For `RMBG_HTTP`: the worker logs the port."""


def address_of(worker):
    """Return host and port of a worker that was started with `ANY_PORT`."""
    [said] = until(lambda: worker.said("serving metrics"), within_s=60)
    return said["host"], said["port"]


def ask(worker, path):
    """Return status, content type and body of the worker's response."""
    connection = http.client.HTTPConnection(*address_of(worker), timeout=15)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def probed(worker, path):
    """Return status and body."""
    status, _, text = ask(worker, path)
    return status, text.strip()


def samples(worker):
    """Return all samples of `/metrics` as Prometheus reads them."""
    _, _, text = ask(worker, "/metrics")
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value_of(worker, name, **labels):
    """Return the sum of the samples of *name* with *labels*."""
    found = [
        sample.value
        for sample in samples(worker)
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    assert found, name
    return sum(found)
