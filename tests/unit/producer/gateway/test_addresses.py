"""Which addresses belong to the internet."""

import pytest

from producer.gateway.addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",  # this host
        "10.1.2.3",  # private
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",  # CGNAT
        "127.0.0.1",  # loopback
        "127.255.255.254",
        "169.254.169.254",  # link-local: metadata of clouds
        "192.0.0.8",  # protocol assignments
        "192.0.2.1",  # documentation
        "192.88.99.1",  # relays of 6to4
        "198.18.0.1",  # benchmarks
        "224.0.0.1",  # multicast
        "239.255.255.250",
        "240.0.0.1",  # reserved
        "255.255.255.255",
        "::",
        "::1",  # loopback
        "::127.0.0.1",  # IPv4-compatible
        "::ffff:10.0.0.1",  # mapped
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254
        "64:ff9b:1::1",  # NAT64, local use
        "2001::1",  # Teredo
        "2001:db8::1",  # documentation
        "2002:a00:1::",  # 6to4 of 10.0.0.1
        "3fff::1",  # documentation
        "fc00::1",  # private
        "fd00:ec2::254",  # metadata of a cloud
        "fe80::1",  # link-local
        "fe80::1%eth0",
        "fec0::1",  # site-local
        "ff02::1",  # multicast
    ],
)
def test_an_address_that_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.216.34",
        "100.63.255.255",
        "172.32.0.1",
        "2606:4700:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
    ],
)
def test_a_public_address(address):
    assert is_public(address)
