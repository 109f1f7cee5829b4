"""Looks into the images that were built."""

from __future__ import annotations

from typing import Final

from calls import Failed, docker, run, say

PRODUCER: Final = "rmbg-queue-producer"
WORKER: Final = "rmbg-queue-worker"
BASE: Final = "python:3.11-slim-bookworm"
PRODUCER_LIMIT_MB: Final = 60
"""What the producer may add to its base: 49 MB, and room for what its libraries grow by."""
CREDENTIALS: Final = """
import boto3
for name in ("s3", "sts", "sso", "sso-oidc", "signin"):
    boto3.client(name, region_name="us-east-1")
"""
"""The services that boto3's chain of credentials asks; their descriptions must be in the image."""
ORIGIN: Final = """
import pathlib, sysconfig, producer, shared, worker
places = {str(pathlib.Path(each.__file__).parents[1]) for each in (producer, shared, worker)}
assert places == {sysconfig.get_path("purelib")}, places
print(*places)
"""


def check_images() -> None:
    """Look at sizes, users and contents."""
    megabytes = {image: _megabytes(image) for image in (BASE, PRODUCER, WORKER)}
    say("images, MB", megabytes)
    if megabytes[PRODUCER] - megabytes[BASE] > PRODUCER_LIMIT_MB:
        raise Failed(f"the producer adds over {PRODUCER_LIMIT_MB} MB to its base")
    for image in (PRODUCER, WORKER):
        user = docker("run", "--rm", image, "id", "-u")
        if user in ("", "0"):
            raise Failed(f"{image} runs as user {user!r}")
        say(image, "has the packages in", docker("run", "--rm", image, "python", "-c", ORIGIN))
    torch = run("docker", "run", "--rm", PRODUCER, "python", "-c", "import torch", accepted=(0, 1))
    if "No module named 'torch'" not in torch.stderr:
        raise Failed("the producer's image holds torch")


def _megabytes(image: str) -> int:
    return round(int(docker("image", "inspect", "-f", "{{.Size}}", image)) / 1e6)
