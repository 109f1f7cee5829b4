"""What the stage brings along: settings, the store's identities, weights, photographs."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Final

from calls import ROOT

from shared.models import registry as models
from shared.models import weights
from shared.objects import S3Store
from shared.settings import ServiceSettings, StoreSettings

MODEL: Final = "isnet-general-use"


def prepare(folder: Path) -> StoreSettings:
    """Write `.env`, the store's identities and the weights; return who we are to the store."""
    secret = secrets.token_urlsafe(16)
    identity = {
        "name": "rmbg",
        "credentials": [{"accessKey": "stage", "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    source = weights.pull(models.get(MODEL), ServiceSettings.from_env({}).home)
    (folder / "weights" / "weights").mkdir(parents=True)
    shutil.copy(source, folder / "weights" / "weights")
    variables = {
        "REDIS_PASSWORD": secrets.token_urlsafe(16),
        "S3_ACCESS_KEY_ID": "stage",
        "S3_SECRET_ACCESS_KEY": secret,
        "S3_CONFIG": str(folder / "s3.json"),
        "RMBG_WEIGHTS_DIR": str(folder / "weights"),
        "RMBG_MODELS": MODEL,
    }
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    (folder / ".env").write_text(lines)
    # Users of the containers, who are not the owner, read these.
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return StoreSettings(
        endpoint="http://127.0.0.1:8333", access_key_id="stage", secret_access_key=secret
    )


def photographs() -> list[Path]:
    """Return the photographs that are laid out."""
    return sorted((ROOT / "examples" / "photos").rglob("*.jpg"))


def lay_out(store: S3Store, prefix: str, *, copies: int) -> None:
    """Put the photographs under *prefix*, several times."""
    for path in photographs():
        for copy in range(copies):
            key = f"{prefix}/{copy}/{path.name}"
            store.put("inbox", key, path.read_bytes(), content_type="image/jpeg")
