"""Read a report as its script does, and make reports of many images."""

import base64
import json
import re
import zlib
from datetime import UTC, datetime

from shared.job.spec import JobState
from shared.jobstore.values import JobStatus
from support.jobs import spec
from worker.consumer.report.contents import Contents
from worker.consumer.report.page import Report, render

NOW = datetime(2026, 11, 23, 5, 10, tzinfo=UTC)
COLUMNS = ("index", "key", "verdict", "width", "height", "class", "reason", "findings")


def status(**changes):
    given = {
        "job_id": "job-1",
        "state": JobState.FINISHING,
        "waiting_for": None,
        "total": 1234,
        "done": 1200,
        "failed": 34,
        "created_at": datetime(2026, 11, 23, 5, 0, tzinfo=UTC),
        "finished_at": None,
        "images_per_s": None,
        "eta_s": None,
        "generation": 1,
        "error_classes": {},
        "verdicts": {"ok": 1190, "review": 10},
    }
    return JobStatus(**given | changes)


def page_of(records, *, previews=None, job=None, **changes):
    """Return the page of a report of *records*."""
    wanted, job = status(**changes), job or spec()
    contents = Contents.of(
        (record.to_json().encode() for record in records),
        total=wanted.total,
        every=job.preview_stride(wanted.total),
    )
    report = Report(status=wanted, spec=job, contents=contents, previews=previews or {}, now=NOW)
    return render(report).decode()


def data_in(page):
    """Return what the script of *page* reads."""
    text = page if isinstance(page, str) else page.decode()
    found = re.search(r'<script type="application/json" id="data">([^<]*)</script>', text)
    return json.loads(found[1])


def rows_in(page):
    """Return the rows of the list in *page*, with names in place of their numbers."""
    data = data_in(page)
    names, rows = data["names"], []
    for block in data["blocks"]:
        columns = json.loads(zlib.decompress(base64.b64decode(block)))
        for values in zip(*columns, strict=True):
            row = dict(zip(COLUMNS, values, strict=True))
            row["verdict"] = names[row["verdict"]]
            row["class"] = None if row["class"] is None else names[row["class"]]
            row["findings"] = [[names[a], names[b], *rest] for a, b, *rest in row["findings"]]
            rows.append(row)
    return rows
