"""`rmbg keys`: create, list, rotate and revoke API keys."""

import pytest
from support.producing import json_lines

from shared.access import Scope

pytestmark = pytest.mark.integration


def test_a_key_is_created_listed_rotated_and_revoked(run_rmbg, services, bucket):
    args = ("--prefix", "shop/", "--weight", "3", "--scopes", "read,submit", "--expires", "30d")
    created = run_rmbg("keys", "create", "shop", *args)
    assert created.returncode == 0, created
    text = created.stdout.decode().strip()

    key = services.jobs.api_keys.find("shop")
    assert key.matches(text)
    assert (key.bucket, key.prefix, key.weight) == (bucket, "shop", 3)
    assert key.scopes == {Scope.READ, Scope.SUBMIT}
    assert (key.expires_at - key.created_at).days == 30
    [shown] = json_lines(run_rmbg("keys", "list", "--json"))
    assert shown["tenant"] == "shop"
    assert "sha256" not in shown
    assert b"shop" in run_rmbg("keys", "list").stdout

    rotated = run_rmbg("keys", "rotate", "shop").stdout.decode().strip()
    assert not services.jobs.api_keys.find("shop").matches(text)
    assert services.jobs.api_keys.find("shop").matches(rotated)
    assert run_rmbg("keys", "revoke", "shop").returncode == 0
    assert services.jobs.api_keys.find("shop") is None


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("create", "a b"), "invalid name"),
        (("create", "a", "--prefix", "../x"), "save prefix"),
        (("create", "a", "--prefix", "%year%"), "placeholders"),
        (("create", "a", "--scopes", "read,all"), "scopes: submit, read, review"),
        (("create", "a", "--expires", "soon"), "is no date"),
        (("create", "a", "--expires", "2020-01-01"), "in the past"),
        (("create", "a", "--bucket", "elsewhere"), "RMBG_INPUT_BUCKETS"),
        (("rotate", "nobody"), "there is no API key 'nobody'"),
        (("revoke", "nobody"), "there is no API key 'nobody'"),
    ],
)
def test_an_invalid_request_is_refused_in_one_line(args, reason, run_rmbg, services):
    done = run_rmbg("keys", *args)

    assert done.returncode == 2
    assert reason in done.stderr.decode()
    assert services.jobs.api_keys.all() == []


def test_a_name_that_is_in_use_is_refused(run_rmbg):
    assert run_rmbg("keys", "create", "shop").returncode == 0

    again = run_rmbg("keys", "create", "shop")

    assert (again.returncode, b"rmbg keys rotate shop" in again.stderr) == (2, True)
