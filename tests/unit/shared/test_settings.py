"""From variables to settings; every problem at once, and no secret in any text."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Annotated, Literal

import botocore
import pytest
from pydantic import Field

from shared import urls
from shared.broker.app import make_app
from shared.errors import InvalidOption
from shared.jobstore.connection import Connection
from shared.objects import S3Store
from shared.reader import Flag, Names, Settings, Whole, seconds
from shared.settings import ServiceSettings, StoreSettings
from shared.urls import redact

HOME = {"HOME": "/home/u"}


def read(**env):
    return ServiceSettings.from_env(HOME | env)


def problems(**env):
    with pytest.raises(InvalidOption) as caught:
        read(**env)
    return str(caught.value)


def test_the_defaults_are_the_documented_ones():
    assert read() == ServiceSettings(
        broker_url="redis://127.0.0.1:6379/0",
        objects=StoreSettings(),
        input_buckets=("inbox",),
        output_bucket="cutouts",
        home=Path("/home/u/.cache/rmbg"),
        offline=False,
        commercial=False,
        weights_url=None,
        hf_token=None,
    )
    assert read().store_url == "redis://127.0.0.1:6379/1"
    assert StoreSettings().region == "us-east-1"


def test_every_variable_is_read():
    settings = read(
        RMBG_REDIS_URL="rediss://u:p@r:1/4?ssl_cert_reqs=required",
        RMBG_S3_ENDPOINT="https://s3.example:9000/",
        RMBG_S3_REGION="eu-central-1",
        RMBG_S3_ACCESS_KEY_ID="id",
        RMBG_S3_SECRET_ACCESS_KEY="se/cret+=",
        RMBG_INPUT_BUCKETS="one, two,one ,",
        RMBG_OUTPUT_BUCKET="out",
        RMBG_HOME="/data",
        RMBG_OFFLINE="1",
        RMBG_COMMERCIAL="yes",
        RMBG_WEIGHTS_URL="https://mirror.example/w",
        HF_TOKEN="hf_token",
    )

    assert settings == ServiceSettings(
        broker_url="rediss://u:p@r:1/4?ssl_cert_reqs=required",
        objects=StoreSettings(
            endpoint="https://s3.example:9000",
            region="eu-central-1",
            access_key_id="id",
            secret_access_key="se/cret+=",
        ),
        input_buckets=("one", "two"),
        output_bucket="out",
        home=Path("/data"),
        offline=True,
        commercial=True,
        weights_url="https://mirror.example/w",
        hf_token="hf_token",
    )


@pytest.mark.parametrize(
    ("given", "store"),
    [
        ("redis://h", "redis://h/1"),
        ("redis://h/", "redis://h/1"),
        ("redis://h:1/0", "redis://h:1/1"),
        ("redis://:p%40ss@h/9", "redis://:p%40ss@h/10"),
        ("redis://[::1]:6379/2", "redis://[::1]:6379/3"),
    ],
)
def test_the_job_store_takes_the_next_database(given, store):
    settings = read(RMBG_REDIS_URL=given)

    assert (settings.broker_url, settings.store_url) == (given, store)


def test_blank_is_unset():
    assert read(RMBG_OUTPUT_BUCKET="  ", RMBG_S3_ENDPOINT="", RMBG_OFFLINE=" ") == read()


def test_all_problems_come_at_once_each_with_its_variable():
    bad = {
        "RMBG_REDIS_URL": "http://h/0",
        "RMBG_S3_ENDPOINT": "localhost:9000",
        "RMBG_S3_SECRET_ACCESS_KEY": "half",
        "RMBG_INPUT_BUCKETS": "ok-bucket,x",
        "RMBG_OUTPUT_BUCKET": "s3://b",
        "RMBG_OFFLINE": "maybe",
        "RMBG_COMMERCIAL": "2",
        "RMBG_WEIGHTS_URL": "ftp://h",
    }

    text = problems(**bad)

    assert {line.split(":")[0] for line in text.splitlines()[1:]} == set(bad)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h/x",
        "redis://h/0/1",
        "redis://h/-1",
        "redis://",
        "redis:///0",
        "redis://h:port/0",
        "redis://h:99999/0",
        "unix:///tmp/s",
        "nonsense",
        "redis://h/0?db=3",
        "redis://[::1/0",
        "redis://h/0#",
        "redis://h/0#x",
    ],
)
def test_a_redis_url_that_cannot_be_used_is_refused(url):
    assert "RMBG_REDIS_URL" in problems(RMBG_REDIS_URL=url)


@pytest.mark.parametrize("letter", ["#", "/", "?", "?a=", "/#", "1#", "@#", "[/"])
@pytest.mark.parametrize("before", ["default:12345", "default:", ":12", ":pass", "user"])
@pytest.mark.parametrize(
    ("variable", "scheme"), [("RMBG_REDIS_URL", "redis"), ("RMBG_WEIGHTS_URL", "https")]
)
def test_a_password_with_a_letter_of_urls_is_not_shown(variable, scheme, before, letter):
    text = problems(**{variable: f"{scheme}://{before}{letter}hunter2@host/0"})

    assert f"{variable}: " in text
    assert "percent-encode the password" in text
    for part in ("12345", "hunter2", "default", "user:", "pass:"):
        assert part not in text


@pytest.mark.parametrize("url", ["redis://:hunter2", "redis://hunter2#x", "redis://u:hunter2/0"])
def test_a_password_without_a_host_is_not_shown(url):
    assert "hunter2" not in problems(RMBG_REDIS_URL=url)


def test_a_percent_encoded_password_is_accepted():
    assert (
        read(RMBG_REDIS_URL="redis://u:%23%2F%3F%40@h/0").store_url == "redis://u:%23%2F%3F%40@h/1"
    )


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://h/0?nonsense=1", "option nonsense"),
        ("redis://h/0?socket_timeout=5", "option socket_timeout"),
        ("redis://h/0?decode_responses=1", "option decode_responses"),
        ("redis://h/0?protocol=3", "option protocol"),
        ("redis://h/0?password=hunter2", "redis://user:password@host"),
        ("redis://h/0?ssl_ca_certs=/ca.pem", "rediss://"),
        ("rediss://h/0?ssl_cert_reqs=bogus", "required or optional or none"),
        ("rediss://h/0?ssl_check_hostname=maybe", "true or false"),
        ("rediss://h/0?ssl_ca_certs=", "ssl_ca_certs"),
        ("redis://h/0?hunter2", "an option"),
    ],
)
def test_an_option_of_a_redis_url_that_not_both_clients_know_is_refused_in_one_line(url, named):
    text = problems(RMBG_REDIS_URL=url)

    assert named in text
    assert len(text.splitlines()) == 1
    assert "hunter2" not in text


@pytest.mark.parametrize(
    "query",
    ["ssl_cert_reqs=none", "ssl_check_hostname=false&ssl_cert_reqs=required", "ssl_password=x"],
)
def test_both_clients_accept_the_options_for_tls(query):
    settings = read(RMBG_REDIS_URL=f"rediss://h/0?{query}")

    Connection.connect(settings.store_url).client.connection_pool.make_connection()
    with make_app(settings.broker_url) as app:
        assert app.connection_for_write().ssl


@pytest.fixture
def garbage(tmp_path):
    path = tmp_path / "garbage.pem"
    path.write_text("no certificate")
    return path


CA_CERTIFICATES = Path(botocore.__file__).with_name("cacert.pem")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("ssl_ca_certs=/no/ca.pem", "option ssl_ca_certs: file /no/ca.pem not found"),
        ("ssl_ca_certs={garbage}", "option ssl_ca_certs: {garbage} holds no certificate in PEM"),
        ("ssl_ca_certs={folder}", "option ssl_ca_certs: {folder} is a folder; name it as ssl_ca_p"),
        ("ssl_ca_path=/no/folder", "option ssl_ca_path: /no/folder is not a folder"),
        ("ssl_certfile=/no/c.pem", "option ssl_certfile: file /no/c.pem not found"),
        ("ssl_certfile={garbage}&ssl_keyfile=/no/k.pem", "ssl_keyfile: file /no/k.pem not found"),
        ("ssl_certfile={garbage}&ssl_keyfile={garbage}", "{garbage} do not hold a certificate"),
        ("ssl_certfile={folder}", "option ssl_certfile: {folder} cannot be read: Is a directory"),
        ("ssl_keyfile={garbage}", "option ssl_keyfile needs ssl_certfile"),
    ],
)
def test_a_file_for_tls_that_cannot_be_loaded_is_named_with_its_option(garbage, query, named):
    """The error of OpenSSL, with the first command, names neither."""
    files = {"garbage": garbage, "folder": garbage.parent}

    text = problems(RMBG_REDIS_URL="rediss://u:hunter2@h/0?" + query.format(**files))

    assert "RMBG_REDIS_URL: option" in text
    assert named.format(**files) in text
    assert len(text.splitlines()) == 1
    assert "hunter2" not in text


def test_certificates_that_can_be_loaded_are_accepted():
    url = f"rediss://h/0?ssl_ca_certs={CA_CERTIFICATES}&ssl_ca_path={CA_CERTIFICATES.parent}"

    assert read(RMBG_REDIS_URL=url).broker_url == url


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_of_certificates_for_s3_that_cannot_be_loaded_is_named(
    monkeypatch, garbage, variable
):
    settings = read(RMBG_S3_ENDPOINT="https://h").objects
    for path, fault in ((garbage, "holds no certificate"), ("/no/ca.pem", "not found")):
        monkeypatch.setenv(variable, str(path))
        with pytest.raises(InvalidOption, match=f"certificates for S3: .*{path} {fault}"):
            S3Store(settings)

    S3Store(read(RMBG_S3_ENDPOINT="http://h").objects)  # needs none
    monkeypatch.setenv(variable, str(CA_CERTIFICATES))
    S3Store(settings)


@pytest.mark.parametrize(
    "endpoint", ["http://my_store:9000", "http://a b", "http://-h-", "http://h?x=1", "http://h#x"]
)
def test_an_endpoint_that_the_s3_client_cannot_use_is_refused(endpoint):
    assert "RMBG_S3_ENDPOINT" in problems(RMBG_S3_ENDPOINT=endpoint)


@pytest.mark.parametrize("host", ["h", "10.0.0.1:9000", "[::1]:9000", "s3.eu-1.example.com"])
def test_the_s3_client_accepts_every_endpoint_that_the_settings_accept(host):
    S3Store(read(RMBG_S3_ENDPOINT=f"http://{host}").objects)


@pytest.mark.parametrize("buckets", [",", " , ", "a/b/c", "UPPER OK?", "-abc"])
def test_names_that_are_no_buckets_are_refused(buckets):
    assert "RMBG_INPUT_BUCKETS" in problems(RMBG_INPUT_BUCKETS=buckets)


@pytest.mark.parametrize(
    "env",
    [
        {"RMBG_REDIS_URL": "redis://:hunter2@h/x"},
        {"RMBG_REDIS_URL": "redis://:hun/ter2@h/x"},
        {"RMBG_REDIS_URL": "http://user:hunter2@h"},
        {"RMBG_REDIS_URL": "redis://h/x?password=hunter2"},
        {"RMBG_S3_ENDPOINT": "http://user:hunter2@h"},
        {"RMBG_S3_ENDPOINT": "ftp://user:hunter2@h"},
        {"RMBG_S3_ACCESS_KEY_ID": "hunter2"},
        {"RMBG_S3_SECRET_ACCESS_KEY": "hunter2"},
    ],
)
def test_no_problem_tells_a_secret(env):
    text = problems(**env)

    assert text.count("RMBG_S3_") + text.count("RMBG_REDIS_URL: ") >= 1
    assert len(text.splitlines()) == 1
    assert "ter2" not in text


def test_settings_show_no_secret():
    shown = repr(
        read(
            RMBG_REDIS_URL="redis://:hunter2@h/0",
            RMBG_S3_ACCESS_KEY_ID="hunter2",
            RMBG_S3_SECRET_ACCESS_KEY="hunter2",
            RMBG_WEIGHTS_URL="https://u:hunter2@h/",
        )
    )

    assert "hunter2" not in shown
    assert "cutouts" in shown


@pytest.mark.parametrize(
    ("env", "home"),
    [
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/rmbg"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/u/.cache/rmbg"),
        ({"XDG_CACHE_HOME": ""}, "/home/u/.cache/rmbg"),
        ({"XDG_CACHE_HOME": "/xdg", "RMBG_HOME": "/own"}, "/own"),
        ({"RMBG_HOME": "~/own"}, "/home/u/own"),
        ({"RMBG_HOME": "~"}, "/home/u"),
    ],
)
def test_the_mapping_decides_where_weights_are_kept(env, home, monkeypatch):
    monkeypatch.setenv("HOME", "/the/process/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/the/process/own")

    assert read(**env).home == Path(home)


@pytest.mark.parametrize(
    "env",
    [{"RMBG_HOME": "~nobody-here/x"}, {"XDG_CACHE_HOME": "~nobody-here/x"}],
)
def test_a_home_folder_that_does_not_exist_is_a_problem_of_the_setting(env):
    """The system does not know this user, as in a container with an arbitrary user ID."""
    assert "RMBG_HOME: no home folder for '~nobody-here/x" in problems(**env)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:pw@h:1/0", "redis://***@h:1/0"),
        ("redis://user:p@ss/w:ord@h/0", "redis://***@h/0"),
        ("redis://h/0?password=pw&x=1", "redis://h/0?password=***&x=1"),
        ("not a url", "not a url"),
    ],
)
def test_redact_hides_user_and_password(url, shown):
    assert redact(url) == shown


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(urls) == (0, 1)


# --- the types of values


class Sample(Settings):
    flag: Flag = False
    wait_s: float = seconds(3.0, most=10)
    count: Whole = Field(4, ge=1, le=8)
    precision: Literal["auto", "fp32"] = "auto"
    names: Annotated[tuple[str, ...], Names] = ("x",)


def sample(name, value):
    """Return field *name* of settings in which its variable is *value*; None: not set."""
    env = {} if value is None else {f"RMBG_{name.upper()}": value}
    return getattr(Sample.from_env(env), name)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *(("flag", value, True) for value in ("1", "True", "ON", "yes")),
        *(("flag", value, False) for value in ("0", "off", "no", "false", "", None)),
        *(("wait_s", value, float(value)) for value in ("1.5", "0", "10")),
        ("wait_s", None, 3.0),
        ("count", "1", 1),
        ("count", "8", 8),
        ("count", None, 4),
        ("precision", "fp32", "fp32"),
        ("precision", None, "auto"),
        ("names", " b, a,b,, c", ("b", "a", "c")),
        ("names", None, ("x",)),
    ],
)
def test_a_value_is_read_as_its_field_s_type(name, value, expected):
    assert sample(name, value) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("flag", value) for value in ("2", "ja", "1.0", "t", "N")),
        *(("wait_s", value) for value in ("-1", "10.1", "nan", "inf", "5s", "1e999")),
        *(("count", value) for value in ("0", "9", "1.0", "-1", "1_0", "٣", "1" * 5000)),
        ("precision", "FP32"),
        ("names", " , "),
    ],
)
def test_a_value_that_its_field_does_not_allow_is_a_problem(name, value):
    with pytest.raises(InvalidOption, match=f"RMBG_{name.upper()}: "):
        sample(name, value)


def test_only_variables_of_fields_are_read():
    """`objects` is a group of settings, so `RMBG_OBJECTS` and `objects` mean nothing."""
    assert read(RMBG_OBJECTS="x", RMBG_BROKER_URL="x", RMBG_OTHER="x", objects="x") == read()


def test_a_changed_copy_leaves_the_original_as_it_was():
    settings = read()

    assert settings.model_copy(update={"offline": True}).offline
    assert not settings.offline
