"""Public test files are cloned shallowly and partially; without a network one sentence says so."""

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.fixtures import FetchError, fetch

SUFFIXES = frozenset({".png", ".tif"})


def git(folder, *arguments):
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", folder, *author, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path):
    """Return the URL of a repository with two commits."""
    origin = tmp_path / "images"
    (origin / "deep").mkdir(parents=True)
    git(tmp_path, "init", "--quiet", origin)
    git(origin, "config", "uploadpack.allowFilter", "true")
    for content in ("one", "two"):
        for name in ("deep/a.png", "b.tif", "code.c"):
            (origin / name).write_text(f"{content} {name}")
        git(origin, "add", ".")
        git(origin, "commit", "--quiet", "-m", content)
    return origin.as_uri()


def test_a_clone_is_shallow_and_holds_only_the_images(repository, tmp_path):
    [path] = fetch(tmp_path / "out", SUFFIXES, [repository])

    files = sorted(each.relative_to(path).as_posix() for each in path.rglob("*.*"))
    assert [each for each in files if not each.startswith(".git")] == ["b.tif", "deep/a.png"]
    assert git(path, "rev-list", "--count", "HEAD").strip() == "1"
    missing = git(path, "rev-list", "--objects", "--missing=print", "HEAD")
    assert [line for line in missing.splitlines() if line.startswith("?")]  # the code


def test_a_clone_is_fetched_once(repository, tmp_path):
    [path] = fetch(tmp_path / "out", SUFFIXES, [repository])
    (path / "mark").touch()

    assert fetch(tmp_path / "out", SUFFIXES, [repository]) == [path]
    assert (path / "mark").exists()


def test_a_failed_clone_is_one_sentence_and_leaves_nothing(tmp_path):
    url = "https://127.0.0.1:1/owner/images"

    with pytest.raises(FetchError) as failed:
        fetch(tmp_path / "out", SUFFIXES, [url])

    text = str(failed.value)
    assert text.startswith(f"cannot clone {url} (")
    assert text.endswith("make fuzz FIXTURES='FOLDER ...'")
    assert "\n" not in text
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_prints_the_sentence_without_a_traceback(tmp_path):
    pytest.importorskip("pyvips")
    script = Path(__file__).with_name("compare_decoders.py")
    env = {"PATH": "/usr/bin:/bin", "https_proxy": "http://127.0.0.1:1"}

    done = subprocess.run(
        [sys.executable, script, "--fetch", tmp_path / "out"],
        check=False,
        capture_output=True,
        text=True,
        env=env,
    )

    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("compare_decoders: cannot clone https://github.com/python-pillow/Pillow")
