"""`rmbg check`: compare images that exist already with the checks of recipes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from shared.errors import InvalidOption, ItemError
from shared.filenames import Others, is_image
from shared.job.outputs import RecipeOutput
from shared.job.spec import Json
from shared.objects import S3Store
from shared.settings import ServiceSettings
from shared.tool_requests import CheckRequest
from worker.imaging.compliance import Context, Finding, check, checks_of


def check_files(request: bytes, env: Mapping[str, str]) -> int:
    """Print what the checks find in each image; return 1 if one that must pass fails.

    An image that cannot be read fails. A repetition prints the same.

    Raises:
        InvalidOption: If a file cannot be opened, or there is none.
        ServiceUnavailable: If the store cannot be read.
    """
    asked = CheckRequest.model_validate_json(request)
    images = _objects(asked.bucket, asked.prefix, env) if asked.bucket else _files(asked.files)
    count, is_failed = 0, False
    for name, data in images:
        count += 1
        for output in asked.outputs:
            report = _Report.of(name, output, data)
            is_failed |= report.is_failed
            click.echo(report.as_json() if asked.as_json else report.as_row())
    if not count:
        raise InvalidOption("no file to check")
    return int(is_failed)


def _files(paths: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield the files at *paths*, and the images in folders in the order of their names."""
    others = Others()
    for given in map(Path, paths):
        for path in _images_in(given, others) if given.is_dir() else [given]:
            try:
                yield str(path), path.read_bytes()
            except OSError as err:
                raise InvalidOption(f"cannot read {path}: {err.strerror}") from err
    _tell(others)


def _images_in(folder: Path, others: Others) -> Iterator[Path]:
    """Yield the images in *folder*; count what else there is in *others*."""
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        name = path.relative_to(folder).as_posix()
        if is_image(name):
            yield path
        else:
            others.add(name)


def _objects(bucket: str, prefix: str, env: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    others = Others()
    store = S3Store(ServiceSettings.from_env(env).objects)
    start = prefix.rfind("/") + 1  # names in the prefix are the user's choice
    for found in store.list(bucket, prefix):
        if is_image(found.key[start:]):
            yield f"s3://{bucket}/{found.key}", store.get(bucket, found.key).data
        else:
            others.add(found.key)
    _tell(others)


def _tell(others: Others) -> None:
    """Say what was ignored."""
    if others.count:
        click.echo(others.describe("ignored"), err=True)


class _Report:
    """What the checks of one recipe found in one image."""

    def __init__(
        self, name: str, output: str, findings: tuple[Finding, ...], unread: str = ""
    ) -> None:
        self._name = name
        self._output = output
        self._findings = findings
        self._unread = unread
        """Why the image cannot be read, or ""."""

    @classmethod
    def of(cls, name: str, output: RecipeOutput, data: bytes) -> "_Report":
        context = Context(extension=Path(name).suffix, fill_of=output.recipe.fill_of)
        try:
            return cls(name, output.name, check(data, checks_of(output.recipe), context))
        except ItemError as err:
            return cls(name, output.name, (), f"cannot be read: {err}")

    @property
    def is_failed(self) -> bool:
        return bool(self._unread or self._of("failed", "must"))

    def as_row(self) -> str:
        parts = (
            ("", [self._unread] if self._unread else []),
            ("", [f"{each.check}: {each.reason}" for each in self._of("failed", "must")]),
            ("note: ", [f"{each.check}: {each.reason}" for each in self._of("failed", "should")]),
            ("not possible: ", [each.check for each in self._of("not possible", "must")]),
        )
        told = "; ".join(f"{title}{', '.join(each)}" for title, each in parts if each)
        return "\t".join((self._name, self._output, "fails" if self.is_failed else "ok", told))

    def as_json(self) -> str:
        findings: list[Json] = [vars(each) for each in self._findings]
        body = {
            "file": self._name,
            "preset": self._output,
            "ok": not self.is_failed,
            "error": self._unread or None,
            "findings": findings,
        }
        return json.dumps(body)

    def _of(self, state: str, level: str) -> list[Finding]:
        return [each for each in self._findings if (each.state, each.level) == (state, level)]
