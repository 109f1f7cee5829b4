"""Render the page of a report from its template, style sheet and script."""

import base64
import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from shared.job.keys import report_key
from shared.job.preview_keys import preview_key
from shared.job.spec import JobSpec
from shared.jobstore.values import JobStatus
from worker.consumer.report.contents import Contents
from worker.consumer.report.figures import COUNTS

_TOP: Final = 15
"""Rows of a table of counts."""
_BAR_PX: Final = 10
_CHART_PX: Final = 60


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that a page shows."""

    status: JobStatus
    spec: JobSpec
    contents: Contents
    previews: Mapping[int, bytes] = field(default_factory=dict)
    """Embedded previews by item: the image before and after, side by side in one WebP file."""
    now: datetime


def render(report: Report) -> bytes:
    """Return the page, at most 10 MB; every text from outside is escaped."""
    style, script = _part("report.css"), _part("report.js")
    page = Template(_part("report.html")).substitute(
        job=escape(report.status.job_id),
        style=style,
        script=script,
        style_hash=_sha256(style),
        script_hash=_sha256(script),
        totals=_totals(report),
        sections=_sections(report),
        data=_data(report),
    )
    return page.encode()


@cache
def _part(name: str) -> str:
    return files("worker.consumer.report").joinpath(name).read_text("utf-8")


def _sha256(text: str) -> str:
    """Return the hash by which the page's security policy allows an inline element."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _totals(report: Report) -> str:
    status, figures = report.status, report.contents.figures
    elapsed_s = max((report.now - status.created_at).total_seconds(), 1e-3)
    rate = (status.done + status.failed) / elapsed_s
    facts = {
        "images": f"{status.total:,}",
        "done": f"{status.done:,}",
        "failed": f"{status.failed:,}",
        **{f"verdict {name}": f"{count:,}" for name, count in sorted(status.verdicts.items())},
        "images per second": f"{rate:,.3g}" if rate < 1000 else f"{rate:,.0f}",  # noqa: PLR2004
        "device": ", ".join(name for name, _ in figures.devices.most_common(5)) or "not known",
        "model": report.spec.rem_mode,
        "save prefix": report.spec.save_prefix,
        "submitted": f"{status.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "ended": f"{report.now:%Y-%m-%d %H:%M:%S} UTC",
    }
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items()
    )


def _sections(report: Report) -> str:
    figures = report.contents.figures
    reasons = figures.reasons or {(name, ""): n for name, n in report.status.error_classes.items()}
    checks = [
        *((name, "must", count) for name, count in figures.musts.most_common()),
        *((name, "should", count) for name, count in figures.shoulds.most_common()),
    ]
    failures = sorted(((*key, count) for key, count in reasons.items()), key=lambda row: -row[2])
    devices = figures.devices.most_common() if len(figures.devices) > 1 else []
    charts = "".join(_chart(name, bins) for name, bins in figures.histograms.items() if any(bins))
    return (
        _table("Failures", ("class", "reason", "images"), failures)
        + _table("Failed checks", ("check", "level", "images"), checks)
        + _table("Devices", ("device", "images"), devices)
        + (
            f"<section><h2>Quality figures</h2><div class=charts>{charts}</div></section>"
            * bool(charts)
        )
    )


def _table(title: str, heads: tuple[str, ...], rows: Iterable[tuple[str | int, ...]]) -> str:
    listed = list(rows)
    if not listed:
        return ""
    head = "".join(f"<th>{escape(name)}" for name in heads)
    body = "".join("<tr>" + "".join(map(_cell, row)) for row in listed[:_TOP])
    more = f"<p>and {len(listed) - _TOP} more" if len(listed) > _TOP else ""
    return f"<section><h2>{title}</h2><table><tr>{head}</tr>{body}</table>{more}</section>"


def _cell(value: str | int) -> str:
    return f"<td class=n>{value:,}" if isinstance(value, int) else f"<td>{escape(value)}"


def _chart(name: str, bins: list[int]) -> str:
    """Return a histogram; bars that are not empty have at least 1 px."""
    most = max(bins)
    bars = ""
    for n, count in enumerate(bins):
        height = max(round(count / most * _CHART_PX), 1) if count else 0
        label = str(n) if name in COUNTS else f"{n / len(bins):.2f} to {(n + 1) / len(bins):.2f}"
        bars += (
            f"<rect x={n * _BAR_PX} y={_CHART_PX - height} width={_BAR_PX - 1} height={height}>"
            f"<title>{label}: {count:,}</title></rect>"
        )
    ends = ("0", f"{len(bins) - 1} or more") if name in COUNTS else ("0", "1")
    width = len(bins) * _BAR_PX
    return (
        f"<figure><figcaption>{name}</figcaption>"
        f'<svg viewBox="0 0 {width} {_CHART_PX}" role=img aria-label="Histogram of {name}">{bars}'
        f"</svg><div class=ends><span>{ends[0]}</span><span>{ends[1]}</span></div></figure>"
    )


def _data(report: Report) -> str:
    """Return what the script reads: JSON without `<`, so that no text can end its element."""
    contents, job_id = report.contents, report.status.job_id
    folder = posixpath.dirname(preview_key(report.spec, job_id, 0))
    has_previews = report.spec.preview_stride(report.status.total) > 0
    data = {
        "images": report.status.total,
        "names": contents.rows.names,
        "blocks": [base64.b64encode(block).decode() for block in contents.rows.blocks()],
        "folder": posixpath.relpath(folder, posixpath.dirname(report_key(job_id)))
        if has_previews
        else None,
        "previews": {
            index: f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
            for index, webp in report.previews.items()
        },
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
