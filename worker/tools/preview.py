"""`rmbg preview`: one local image through all stages, with its outputs side by side on a page."""

import webbrowser
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Final

import click

from shared.errors import InvalidOption
from shared.files import write_whole
from shared.job.features import OUTPUTS
from shared.job.output_keys import HELD
from shared.job.record import ItemRecord, OutputFacts
from shared.job.spec import JobSpec
from shared.models.registry import get
from shared.tool_requests import PreviewRequest
from worker.inference import Loader
from worker.settings import WorkerSettings
from worker.tools.local_run import LocalImage, LocalResult, run_locally

_JOB: Final = "preview"
_PAGE: Final = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>$name</title>
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { margin: 1.5rem; display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start }
figure { margin: 0; width: 420px } figcaption { font-size: .85rem; overflow-wrap: anywhere }
img { max-width: 100%; max-height: 420px; display: block; border: 1px solid #8884;
  background: repeating-conic-gradient(#bbb 0 25%, #eee 0 50%) 0 0 / 24px 24px }
.review, .error { color: #c60 }
</style>
$figures
</html>
""")


def preview_image(request: bytes, env: Mapping[str, str]) -> int:
    """Write the outputs of one image and a page that shows them; return 1 if a check failed.

    Raises:
        ConfigError: If the image, the weights or the folder cannot be used.
    """
    asked = PreviewRequest.model_validate_json(request)
    source, out = Path(asked.image), Path(asked.folder)
    settings = WorkerSettings.from_env({**env, "RMBG_MODELS": asked.rem_mode})
    result = _processed(asked, source, settings)
    record = result.record
    figures = [_figure(source.resolve().as_uri(), "source", OutputFacts())]
    for written, data in result.outputs:
        path = out / written.path.removeprefix(f"{HELD}/")
        write_whole(path, [data])
        facts = record.outputs.get(written.output, OutputFacts())
        figures.append(_figure(str(path.relative_to(out)), written.output, facts))
    page = out / "preview.html"
    html = _PAGE.substitute(name=escape(source.name), figures="\n".join(figures))
    write_whole(page, [html.encode()])
    for line in _lines(record):
        click.echo(line)
    click.echo(page)
    if asked.open_page:
        webbrowser.open(page.resolve().as_uri())
    return int(record.state == "failed" or record.verdict != "ok")


def _processed(asked: PreviewRequest, source: Path, settings: WorkerSettings) -> LocalResult:
    """Run *source* through the stages of a worker."""
    spec = JobSpec(
        input_bucket="in",
        output_bucket="out",
        save_prefix="preview",
        rem_mode=asked.rem_mode,
        weights_sha256=get(asked.rem_mode).identity,
        outputs=asked.outputs,
        needs=(OUTPUTS,),
    )
    data = _read(source)
    model = Loader(settings, warm_up=False).load(asked.rem_mode)
    images = [LocalImage(source.name, lambda: data)]
    [result] = run_locally(
        images, spec, job_id=_JOB, model=model, settings=settings, assets=asked.assets
    )
    record = result.record
    if record.state == "failed" and not record.outputs:
        error = record.error or {}
        raise InvalidOption(f"{source.name}: {error.get('class')}: {error.get('reason')}")
    return result


def _lines(record: ItemRecord) -> Iterator[str]:
    """Yield a line for the mask and for each output: name, verdict and what was found."""
    quality = record.qc or {}
    yield "\t".join(("mask", str(quality.get("verdict")), str(quality.get("reasons", ""))))
    for name, facts in record.outputs.items():
        yield "\t".join((name, facts.verdict, _findings(facts)))


def _findings(facts: OutputFacts) -> str:
    told = [f"{name} is {value}, limit {limit}" for name, (value, limit) in facts.failed.items()]
    told += [
        f"note: {name} is {value}, limit {limit}" for name, (value, limit) in facts.noted.items()
    ]
    told += [f"fixed: {fix}" for fix in facts.fixes]
    return "; ".join([*told, *([facts.reason] if facts.reason else [])])


def _figure(url: str, name: str, facts: OutputFacts) -> str:
    size = f" {facts.width} x {facts.height}, {facts.bytes:,} bytes" if facts.bytes else ""
    told = escape(f"{size} {_findings(facts)}")
    verdict = "" if name in ("source", "mask", "cutout") else f" {facts.verdict}"
    image = f'<img src="{escape(url)}" alt="{escape(name)}">'
    caption = f"<b>{escape(name)}</b>{verdict}{told}"
    return f'<figure>{image}<figcaption class="{facts.verdict}">{caption}</figcaption></figure>'


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise InvalidOption(f"cannot read {path}: {err.strerror}") from err
