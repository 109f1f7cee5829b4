"""The report of a job: one self-contained page with totals, failures and sample images."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Final

from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.jobstore.values import JobStatus

MAX_CELLS: Final = 24
MAX_FAILURES: Final = 100


@dataclass(frozen=True)
class Cell:
    """One done image."""

    record: ItemRecord
    preview: bytes | None
    """The image before and after, side by side in one WebP file; None if there is none."""


_PAGE: Final = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>$job</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 1180px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin-top: 2rem }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 0 }
dt { font-size: .8rem; opacity: .7 } dd { margin: 0; font-size: 1.15rem }
.cells { display: grid; grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)); gap: 1rem }
figure { margin: 0 } figcaption { font-size: .8rem; overflow-wrap: anywhere; opacity: .8 }
img { max-width: 100%; height: auto; display: block; border-radius: 4px }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .3rem .6rem }
td, th { border-bottom: 1px solid #8884 }
td { overflow-wrap: anywhere }
</style>
<h1>Background removal: $job</h1>
<dl>$totals</dl>
$failures
$cells
</html>
""")


def render(
    status: JobStatus, spec: JobSpec, cells: Iterable[Cell], failed: Iterable[ItemRecord]
) -> str:
    """Return the page; every text from outside is escaped."""
    facts = {
        "images": f"{status.total:,}",
        "done": f"{status.done:,}",
        "failed": f"{status.failed:,}",
        "model": spec.rem_mode,
        "save prefix": spec.save_prefix,
        "submitted": f"{status.created_at:%Y-%m-%d %H:%M:%S} UTC",
        **{f"verdict {name}": f"{count:,}" for name, count in sorted(status.verdicts.items())},
    }
    totals = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts.items()
    )
    return _PAGE.substitute(
        job=escape(status.job_id),
        totals=totals,
        failures=_failures(status, list(failed)),
        cells=_cells(list(cells)),
    )


def _failures(status: JobStatus, failed: list[ItemRecord]) -> str:
    if not failed:
        return ""
    rows = "".join(
        f"<tr><td>{escape(record.image_key)}<td>{escape(error['class'])}"
        f"<td>{escape(error['reason'])}"
        for record in failed
        if (error := record.error) is not None
    )
    shown = f"the first {len(failed)} of {status.failed:,}" if status.failed > len(failed) else ""
    return f"<h2>Failed {shown}</h2><table><tr><th>Image<th>Class<th>Reason</tr>{rows}</table>"


def _cells(cells: list[Cell]) -> str:
    if not cells:
        return ""
    figures = "".join(
        f"<figure>{_image(cell)}<figcaption>{escape(cell.record.image_key)} "
        f"({_verdict(cell.record)}{cell.record.width} x {cell.record.height})"
        "</figcaption></figure>"
        for cell in cells
    )
    return f'<h2>Before and after</h2><div class="cells">{figures}</div>'


def _image(cell: Cell) -> str:
    if cell.preview is None:
        return ""
    return f'<img alt="before and after" src="{_inline(cell.preview)}">'


def _verdict(record: ItemRecord) -> str:
    verdict = (record.qc or {}).get("verdict")
    return f"{escape(str(verdict))}, " if verdict else ""


def _inline(webp: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
