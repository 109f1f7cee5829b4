"""Fetching what callers name: against a real server, with a resolver that the test controls."""

import asyncio
import ssl
import threading

import httpx
import pytest
import trustme
from support.file_server import File, FileServer

from producer.gateway.fetch import Fetcher
from producer.gateway.problems import Problem

HERE, THERE = "127.0.0.1", "127.0.0.2"
BODY = b"an image" * 100


@pytest.fixture
def server():
    """A server that the host `files.example` has."""
    with FileServer({"/a.jpg": File(BODY)}) as running:
        yield running


class Names:
    """A resolver whose answers the test gives, one after the other; the last one stays."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def __call__(self, host, port):
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def fetcher(*answers, **details):
    """Return a fetcher that may connect to loopback."""
    given = {"resolve": Names(*answers or ([HERE],)), "is_allowed": lambda _: True}
    return Fetcher(**{"max_bytes": 10_000} | given | details)


def fetch(fetching, url):
    return asyncio.run(fetching.get(url))


def problem_of(fetching, url):
    with pytest.raises(Problem) as raised:
        fetch(fetching, url)
    return raised.value


def url_of(server, path="/a.jpg", scheme="http"):
    return f"{scheme}://files.example:{server.port}{path}"


def test_the_body_of_a_url(server):
    assert fetch(fetcher(), url_of(server)) == BODY
    assert [each.host for each in server.requests] == [f"files.example:{server.port}"]


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://files.example/a.jpg",
        "gopher://files.example/",
        "/a.jpg",
        "//files.example/a.jpg",
        "http:///a.jpg",
        "http://[::1/a.jpg",
        "http://files.example:port/",
        "http://user:secret@files.example/a.jpg",
        "http://user@files.example/a.jpg",
        "http://a\x00b/",
    ],
)
def test_a_url_that_is_refused_before_it_is_resolved(url):
    names = Names([HERE])

    problem = problem_of(fetcher(resolve=names), url)

    assert (problem.name, names.asked) == ("url-refused", [])
    assert "secret" not in problem.detail


@pytest.mark.parametrize(
    "addresses", [[HERE], ["1.1.1.1", "10.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]]
)
def test_a_host_with_an_address_that_is_not_public_is_refused(addresses, server):
    problem = problem_of(Fetcher(10_000, resolve=Names(addresses)), url_of(server))

    assert problem.name == "url-refused"
    assert server.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "[::1]"])
def test_a_name_of_this_machine_is_refused_whatever_it_is_written_like(host, server):
    problem = problem_of(Fetcher(10_000), f"http://{host}:{server.port}/a.jpg")

    assert problem.name in ("url-refused", "url-failed")  # a resolver may not know these forms
    assert server.requests == []


def test_a_name_that_changes_its_address_gains_nothing(server):
    """DNS rebinding: the first answer may be connected to, and the second is what it is after."""
    with FileServer({"/a.jpg": File(b"public")}, at=(THERE, server.port)):
        rebinding = fetcher([THERE], [HERE], is_allowed=lambda address: address == THERE)

        assert fetch(rebinding, url_of(server)) == b"public"
    assert server.requests == []


def test_the_next_address_is_tried_if_one_does_not_answer(server):
    assert fetch(fetcher([THERE, HERE]), url_of(server)) == BODY


def test_a_redirect_is_not_followed(server):
    server.files["/moved"] = File(status=302, location="/a.jpg")

    problem = problem_of(fetcher(), url_of(server, "/moved"))

    assert problem.name == "url-failed"
    assert "redirects are not followed" in problem.detail
    assert [each.path for each in server.requests] == ["/moved"]


@pytest.mark.parametrize("has_length", [True, False])
def test_a_body_over_the_limit_is_not_read(has_length, server):
    event = threading.Event()
    size = 10_000 if has_length else 10_001
    server.files["/big"] = File(b"x" * 1_000_000, has_length=has_length, hold_after=(size, event))
    try:
        problem = problem_of(fetcher(), url_of(server, "/big"))
    finally:
        event.set()
    assert (problem.status, problem.name) == (413, "body-too-large")


def test_a_body_of_exactly_the_limit_is_read(server):
    server.files["/big"] = File(b"x" * 10_000)

    assert len(fetch(fetcher(), url_of(server, "/big"))) == 10_000


def test_a_server_that_never_ends_is_left(server):
    event = threading.Event()
    server.files["/slow"] = File(BODY, hold_after=(5, event))
    later = threading.Timer(10, event.set)  # without a limit, the body comes then
    later.start()
    try:
        problem = problem_of(fetcher(timeout_s=0.5), url_of(server, "/slow"))
    finally:
        later.cancel()
        event.set()
    assert (problem.name, "0.5 s" in problem.detail) == ("url-failed", True)


@pytest.mark.parametrize(("path", "reason"), [("/none", "404"), ("/cut", "cannot be|HTTP")])
def test_a_server_that_fails(path, reason, server):
    server.files["/cut"] = File(BODY, cut_after=5)

    problem = problem_of(fetcher(), url_of(server, path) + "?token=secret")

    assert problem.name == "url-failed"
    assert "secret" not in problem.detail


def test_a_host_of_invalid_punycode_fails():
    found = problem_of(fetcher([]), "http://xn--a/")

    assert (found.name, "xn--a" in found.detail) == ("url-failed", True)


def test_a_host_without_an_address_fails():
    async def unknown(_host, _port):
        raise OSError("no such name")

    assert problem_of(fetcher(resolve=unknown), "http://nobody.example/").name == "url-failed"
    assert problem_of(fetcher([]), "http://nobody.example/").name == "url-failed"


def test_the_certificate_is_checked_for_the_name_of_the_url():
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("files.example").configure_cert(tls)
    trusting = httpx.create_ssl_context()
    authority.configure_trust(trusting)
    with FileServer({"/a.jpg": File(BODY)}, tls=tls) as server:
        assert fetch(fetcher(tls=trusting), url_of(server, scheme="https")) == BODY
        other = f"https://other.example:{server.port}/a.jpg"
        assert problem_of(fetcher(tls=trusting), other).name == "url-failed"
        assert problem_of(fetcher(), url_of(server, scheme="https")).name == "url-failed"
    assert len(server.requests) == 1
