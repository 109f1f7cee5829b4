"""`make demo`: the example photographs through the real system, into `out/demo/`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from shared.errors import RmbgError
from shared.models import registry as models
from shared.models import weights
from shared.settings import ServiceSettings

PHOTOS = Path(__file__).parent / "photos"
OUT = Path("out/demo")
FIRST_CHOICE, SECOND_CHOICE = "RMBG-1.4", "isnet-general-use"


def choose_model(settings: ServiceSettings) -> str:
    """Return the first of the two models whose weights are here or can be had."""
    try:
        weights.pull(models.get(FIRST_CHOICE), settings.home, offline=settings.offline)
    except RmbgError as err:
        reason = str(err).splitlines()[0]
        print(f"running {SECOND_CHOICE} instead of {FIRST_CHOICE}: {reason}", file=sys.stderr)
        return SECOND_CHOICE
    return FIRST_CHOICE


def main(env: dict[str, str]) -> int:
    """Run the demo and say where the results are."""
    model = choose_model(ServiceSettings.from_env(env))
    shutil.rmtree(OUT, ignore_errors=True)
    command = [Path(sys.executable).with_name("rmbg"), "run", PHOTOS, OUT, "--rem-mode", model]
    code = subprocess.run(command, check=False).returncode  # noqa: S603 - our own command
    print(f"cutouts, masks, results.jsonl and report.html: {OUT}/")
    return code


if __name__ == "__main__":
    sys.exit(main(dict(os.environ)))
