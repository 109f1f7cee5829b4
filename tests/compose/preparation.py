"""Prepare settings, S3 identities, weights and photographs for the compose test."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Final

from commands import ROOT

from shared.models import registry as models
from shared.models import weights
from shared.objects import S3Store
from shared.settings import ServiceSettings, StoreSettings

MODEL: Final = "isnet-general-use"
ACCESS_KEY: Final = "compose-test"


def prepare(folder: Path) -> StoreSettings:
    """Write `.env`, the S3 identities and the weights; return the settings for S3."""
    secret = secrets.token_urlsafe(16)
    identity = {
        "name": "rmbg",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    source = weights.pull(models.get(MODEL), ServiceSettings.from_env({}).home)
    (folder / "weights" / "weights").mkdir(parents=True)
    shutil.copy(source, folder / "weights" / "weights")
    variables = {
        "REDIS_PASSWORD": secrets.token_urlsafe(16),
        "S3_ACCESS_KEY_ID": ACCESS_KEY,
        "S3_SECRET_ACCESS_KEY": secret,
        "S3_CONFIG": str(folder / "s3.json"),
        "RMBG_WEIGHTS_DIR": str(folder / "weights"),
        "RMBG_MODELS": MODEL,
    }
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    (folder / ".env").write_text(lines)
    # The containers' users, who do not own these files, read them.
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return StoreSettings(
        endpoint="http://127.0.0.1:8333", access_key_id=ACCESS_KEY, secret_access_key=secret
    )


def photographs() -> list[Path]:
    """Return the paths of the photographs that are uploaded."""
    return sorted((ROOT / "examples" / "photos").rglob("*.jpg"))


def upload(store: S3Store, prefix: str, *, copies: int) -> None:
    """Upload *copies* copies of each photograph under *prefix*."""
    for path in photographs():
        for copy in range(copies):
            key = f"{prefix}/{copy}/{path.name}"
            store.put("inbox", key, path.read_bytes(), content_type="image/jpeg")
