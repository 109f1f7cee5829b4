"""npm packages, and a stand-in for the `npm` command."""

import io
import tarfile

import pytest


@pytest.fixture
def tarball(tmp_path):
    """Write an npm package with the given files in `dist/`, and return its path."""

    def write(files):
        path = tmp_path / "package.tgz"
        with tarfile.open(path, "w:gz") as package:
            for name, body in files.items():
                entry = tarfile.TarInfo(f"package/dist/{name}")
                entry.size = len(body)
                package.addfile(entry, io.BytesIO(body))
        return path

    return write


@pytest.fixture
def npm_command(monkeypatch, tmp_path):
    """Put a shell script in the place of the `npm` command."""

    def write(script):
        command = tmp_path / "npm"
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    return write


@pytest.fixture
def npm_package(tarball, npm_command):
    """Make `npm pack` deliver a package with the given files in `dist/`."""

    def publish(files):
        copy = f'cp {tarball(files)} "${{last#--pack-destination=}}"'
        npm_command(f"for last; do :; done; {copy}")

    return publish
