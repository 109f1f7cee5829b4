"""Check files for TLS before they are used: OpenSSL's own errors name no file."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def check_ca_bundle(path: str) -> None:
    """Raise ValueError, which names *path*, if it holds no certificates that can be loaded."""
    import ssl  # noqa: PLC0415 - needed only with files of one's own

    if Path(path).is_dir():
        return
    with _named(path, "holds no certificate in PEM format"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)


def check_redis_files(options: Mapping[str, str]) -> None:
    """Raise ValueError, which names option and path, for a file that redis-py could not load.

    Args:
        options: Options of a URL of Redis.
    """
    if path := options.get("ssl_ca_certs"):
        with _of_option("ssl_ca_certs"):
            if Path(path).is_dir():
                raise ValueError(f"{path} is a folder; name it as ssl_ca_path")
            check_ca_bundle(path)
    if (path := options.get("ssl_ca_path")) and not Path(path).is_dir():
        raise ValueError(f"option ssl_ca_path: {path} is not a folder")
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    if key and not certificate:
        raise ValueError("option ssl_keyfile needs ssl_certfile")
    if certificate:
        _check_pair(certificate, key, options.get("ssl_password", ""))


def _check_pair(certificate: str, key: str | None, password: str) -> None:
    import ssl  # noqa: PLC0415 - see above

    for option, path in (("ssl_certfile", certificate), ("ssl_keyfile", key)):
        if path:
            with _of_option(option), _named(path, ""):
                Path(path).read_bytes()
    fault = "do not hold a certificate and its key in PEM format, or ssl_password is wrong"
    with _of_option("ssl_certfile"), _named(f"{certificate} and {key or 'no key file'}", fault):
        # An empty password keeps OpenSSL from asking for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password)


@contextmanager
def _of_option(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as err:
        raise ValueError(f"option {name}: {err}") from err


@contextmanager
def _named(path: str, fault: str) -> Iterator[None]:
    """Turn errors of loading *path* into ValueError; *fault* is what an error of OpenSSL means."""
    import ssl  # noqa: PLC0415 - see above

    try:
        yield
    except FileNotFoundError as err:
        raise ValueError(f"file {path} not found") from err
    except ssl.SSLError as err:
        raise ValueError(f"{path} {fault}") from err
    except OSError as err:
        raise ValueError(f"{path} cannot be read: {err.strerror or err}") from err
