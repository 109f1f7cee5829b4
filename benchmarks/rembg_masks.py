"""Make masks with rembg's own sessions; imports nothing of this project.

    python benchmarks/rembg_masks.py MODELS.json OUT IMAGE...

MODELS.json maps names of rembg's sessions to ONNX files. Each mask is OUT/{name}-{image}.png.
"""

import json
import sys
from pathlib import Path

import onnxruntime
from PIL import Image
from rembg.sessions import sessions


def main(models: str, out: str, *images: str) -> None:
    for name, path in json.loads(Path(models).read_text()).items():
        # Only where the file comes from differs from rembg's session.
        own = type(
            "Own", (sessions[name],), {"download_models": classmethod(lambda *_, p=path, **__: p)}
        )
        session = own(name, onnxruntime.SessionOptions())
        for image in images:
            with Image.open(image) as opened:
                [mask] = session.predict(opened.convert("RGB"))
            mask.save(Path(out) / f"{name}-{Path(image).stem}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
