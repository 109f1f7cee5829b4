"""`rmbg preview`: one local image through all stages, with its outputs side by side on a page."""

import webbrowser
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Final

import click

from shared.errors import InvalidOption, RmbgError
from shared.job.features import OUTPUTS
from shared.job.keys import asset_key
from shared.job.output_keys import HELD
from shared.job.record import ItemRecord, OutputFacts
from shared.job.spec import JobSpec
from shared.job.written import written_objects
from shared.models.registry import get
from shared.objects.memory import MemoryStore
from shared.tool_requests import PreviewRequest
from worker.app import build_local_engine
from worker.engine import Finished, ItemRequest, run_single
from worker.inference import Loader, Model
from worker.settings import WorkerSettings
from worker.storage import AssetReader

TIMEOUT_S: Final = 600.0
"""Longest time that one image may take."""
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
    spec, store, record = _processed(asked, source, settings)
    figures = [_figure(source.resolve().as_uri(), "source", OutputFacts())]
    for written in written_objects(spec, _JOB, record):
        path = out / written.path.removeprefix(f"{HELD}/")
        _write(path, store.get(spec.output_bucket, written.key).data)
        facts = record.outputs.get(written.output, OutputFacts())
        figures.append(_figure(str(path.relative_to(out)), written.output, facts))
    page = out / "preview.html"
    _write(page, _PAGE.substitute(name=escape(source.name), figures="\n".join(figures)).encode())
    for line in _lines(record):
        click.echo(line)
    click.echo(page)
    if asked.open_page:
        webbrowser.open(page.resolve().as_uri())
    return int(record.state == "failed" or record.verdict != "ok")


def _processed(
    asked: PreviewRequest, source: Path, settings: WorkerSettings
) -> tuple[JobSpec, MemoryStore, ItemRecord]:
    """Run *source* through the stages of a worker, on a store in memory."""
    store = MemoryStore()
    spec = JobSpec(
        input_bucket="in",
        output_bucket="out",
        save_prefix="preview",
        rem_mode=asked.rem_mode,
        weights_sha256=get(asked.rem_mode).sha256,
        outputs=asked.outputs,
        needs=(OUTPUTS,),
    )
    store.put(spec.input_bucket, source.name, _read(source), content_type="image/*")
    for sha256, data in asked.assets.items():
        store.put(spec.output_bucket, asset_key(_JOB, sha256), data, content_type="image/*")
    model = Loader(settings).load(asked.rem_mode)
    return spec, store, _run(spec, source.name, model, settings, store)


def _run(
    spec: JobSpec, key: str, model: Model, settings: WorkerSettings, store: MemoryStore
) -> ItemRecord:
    engine = build_local_engine(settings, store)
    try:
        request = ItemRequest(
            job_id=_JOB,
            sequence=1,
            spec=spec,
            index=0,
            image_key=key,
            model=model,
            assets=AssetReader(store, max_bytes=settings.max_bytes).read(_JOB, spec),
        )
        outcome = run_single(engine, request, timeout_s=TIMEOUT_S)
    finally:
        engine.close()
    if outcome is None:
        raise RmbgError(f"{key}: no result within {TIMEOUT_S:g} s")
    if not isinstance(outcome, Finished):
        raise RmbgError(f"{key} was not processed: {outcome.waiting_for}")
    if outcome.record.state == "failed" and not outcome.record.outputs:
        error = outcome.record.error or {}
        raise InvalidOption(f"{key}: {error.get('class')}: {error.get('reason')}")
    return outcome.record


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


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as err:
        raise InvalidOption(f"cannot write {path}: {err.strerror}") from err
