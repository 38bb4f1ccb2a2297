"""Where requests may go, and how long to wait before the next one."""

from __future__ import annotations

import datetime as dt
import ipaddress

import httpx
import pytest

from flockiq.capture.http.guard import GuardedBackend, Origins, is_public
from flockiq.capture.http.patience import LONGEST_S, backoff, retry_after
from flockiq.shared.errors import SourceError

NOW = dt.datetime(2026, 3, 1, 10, tzinfo=dt.UTC)


INNER = """
    127.0.0.1 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.1 224.0.0.1 255.255.255.255 ::1 ::
    fe80::1 fc00::1 ff02::1 ::ffff:10.0.0.1 ::ffff:127.0.0.1 64:ff9b::a00:1 64:ff9b::7f00:1 2002:7f00:1::
    2001:0:4136:e378:8000:63bf:f5ff:fffe
"""


@pytest.mark.parametrize("address", INNER.split())
def test_inner_addresses_are_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, multicast, however IPv6 wraps them."""
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_addresses_of_the_internet_are_public(address: str) -> None:
    """And so are they when wrapped."""
    assert is_public(ipaddress.ip_address(address))


async def test_the_address_is_checked_when_connecting() -> None:
    """The connection is refused below the name, where DNS rebinding would come in."""
    with pytest.raises(SourceError, match="private, loopback or link-local"):
        await GuardedBackend(allow_private=False).connect_tcp("localhost", 9)


ORIGINS = Origins("https://a.example/api/v1", ["https://b.example:8443"], allow_private=False)


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("accounts?$top=1", "https://a.example/api/v1/accounts?$top=1"),
        ("/api/v1/accounts", "https://a.example/api/v1/accounts"),
        ("https://A.example:443/x", "https://a.example/x"),
        ("https://b.example:8443/x", "https://b.example:8443/x"),
    ],
)
def test_links_on_declared_origins_are_followed(link: str, url: str) -> None:
    """Relative or absolute, the scheme's own port said or not."""
    assert str(ORIGINS.resolve(link)) == str(httpx.URL(url))


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/api/v1/accounts",
        "//evil.example/x",
        "http://a.example/api/v1/accounts",
        "https://a.example:8443/x",
        "https://a.example@evil.example/",
        "https://user:pass@a.example/",
        "https://a.example.evil.example/",
        "file:///etc/passwd",
        "https://b.example/x",
        "http://[::1",
        "\\\\evil.example\\x",
    ],
)
def test_links_anywhere_else_are_refused(link: str) -> None:
    """Another host, scheme, port, user info, or no URL at all."""
    if link.startswith("\\"):
        assert ORIGINS.resolve(link).host == "a.example"  # a path, not another host
        return
    with pytest.raises(SourceError):
        ORIGINS.resolve(link)


def test_plain_http_is_for_ones_own_network() -> None:
    """Credentials do not cross the internet in the clear."""
    with pytest.raises(SourceError, match="not https"):
        Origins("http://a.example", [], allow_private=False).resolve("x")
    assert Origins("http://a.example", [], allow_private=True).resolve("x").host == "a.example"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Sun, 01 Mar 2026 10:00:30 GMT", 30.0),
        ("Sun, 01 Mar 2026 09:00:00 GMT", 0.0),
        ("99999999999", LONGEST_S),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, seconds: float | None) -> None:
    """Bounded, never negative, None for nonsense."""
    assert retry_after(header, NOW) == seconds


def test_backoff_doubles_within_its_bound_and_is_spread() -> None:
    """Never over the longest, never under half of the whole, and not always the same."""
    for failures in (1, 2, 5, 60):
        whole = min(0.2 * 2.0 ** (failures - 1), 30.0)
        waits = [backoff(failures, 30.0) for _ in range(50)]
        assert all(whole / 2 <= wait <= whole for wait in waits)
        assert len(set(waits)) > 1
