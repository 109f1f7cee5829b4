"""Check the container images that were built."""

from __future__ import annotations

from typing import Final

from commands import CheckFailed, docker, report, run

PRODUCER: Final = "rmbg-queue-producer"
GATEWAY: Final = "rmbg-queue-gateway"
WORKER: Final = "rmbg-queue-worker"
BASE: Final = "python:3.11-slim-bookworm"
PRODUCER_LIMIT_MB: Final = 75
"""Most that the producer's image may add to its base: 65 MB today (pydantic and httpx: 16)."""
CREDENTIALS: Final = """
import boto3
for name in ("s3", "sts", "sso", "sso-oidc", "signin"):
    boto3.client(name, region_name="us-east-1")
"""
"""Services that boto3's credential chain uses; their descriptions must be in the image."""
ORIGIN: Final = """
import pathlib, sysconfig, producer, shared, worker
folders = {str(pathlib.Path(each.__file__).parents[1]) for each in (producer, shared, worker)}
assert folders == {sysconfig.get_path("purelib")}, folders
print(*folders)
"""


def check_images() -> None:
    """Check sizes, users and contents."""
    megabytes = {image: _megabytes(image) for image in (BASE, PRODUCER, GATEWAY, WORKER)}
    report("images, MB", megabytes)
    if megabytes[PRODUCER] - megabytes[BASE] > PRODUCER_LIMIT_MB:
        raise CheckFailed(f"the producer adds over {PRODUCER_LIMIT_MB} MB to its base")
    for image in (PRODUCER, GATEWAY, WORKER):
        user = docker("run", "--rm", image, "id", "-u")
        if user in ("", "0"):
            raise CheckFailed(f"{image} runs as user {user!r}")
        report(image, "has the packages in", docker("run", "--rm", image, "python", "-c", ORIGIN))
    docker("run", "--rm", PRODUCER, "python", "-c", CREDENTIALS)
    for image in (PRODUCER, GATEWAY):
        torch = run("docker", "run", "--rm", image, "python", "-c", "import torch", accepted=(0, 1))
        if "No module named 'torch'" not in torch.stderr:
            raise CheckFailed(f"{image} contains torch")


def _megabytes(image: str) -> int:
    return round(int(docker("image", "inspect", "-f", "{{.Size}}", image)) / 1e6)
