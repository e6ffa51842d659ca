"""Who asks, where proxies stand between, and whether it is this host: nobody gets in by writing a header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taba.web.forwarded import MOST_HOPS, UNIX, Asker, TrustedProxies, address_in

NOBODY = TrustedProxies()
LOCAL_NGINX = TrustedProxies.of(["127.0.0.1", "::1", UNIX])
FLEET = TrustedProxies.of(["10.0.0.0/8", "2001:db8::/32"])


def asked(trusted: TrustedProxies, peer: str | None, headers: Mapping[str, str | Sequence[str]] | None = None) -> Asker:
    """Who asks in a request with these headers."""
    given = {name: [value] if isinstance(value, str) else list(value) for name, value in (headers or {}).items()}
    return trusted.asker(peer, lambda name: given.get(name, []))


def forwarded(text: str | Sequence[str]) -> dict[str, str | Sequence[str]]:
    """The header that is believed of trusted proxies."""
    return {"x-forwarded-for": text}


class DirectTests(SynchronousTestCase):
    """Requests without a proxy."""

    def test_peer(self) -> None:
        """Without headers the peer asks; loopback and UNIX sockets are this host, whomever one trusts."""
        for trusted in (NOBODY, LOCAL_NGINX, FLEET):
            for peer, shown, local in (
                ("127.0.0.1", "127.0.0.1", True), ("127.9.9.9", "127.9.9.9", True), ("::1", "::1", True),
                ("::ffff:127.0.0.1", "127.0.0.1", True), ("192.0.2.7", "192.0.2.7", False),
                ("10.0.0.1", "10.0.0.1", False), (None, UNIX, True), ("not an address", "not an address", False),
            ):  # fmt: skip
                self.assertEqual(asked(trusted, peer), Asker(shown, local), (trusted, peer))

    def test_in_words(self) -> None:
        """Logs name addresses, and say in words what has none."""
        self.assertEqual([str(asked(NOBODY, "192.0.2.7")), str(asked(NOBODY, None))],
                         ["192.0.2.7", "a process of this host"])  # fmt: skip


class UntrustedTests(SynchronousTestCase):
    """Headers from whom nobody trusts."""

    def test_headers_are_not_believed(self) -> None:
        """Who writes such a header himself stays who he is."""
        for peer in ("192.0.2.7", "10.0.0.1"):
            self.assertEqual(asked(NOBODY, peer, forwarded("127.0.0.1")), Asker(peer, False))

    def test_a_proxy_on_this_host(self) -> None:
        """Whatever a proxy on loopback brings, without being trusted, is not this host's; whichever header shows it."""
        for name in ("x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-host", "x-forwarded-proto"):
            for value in ("127.0.0.1", "", "for=127.0.0.1", "unknown"):
                for peer in ("127.0.0.1", "::1", None):
                    self.assertFalse(asked(NOBODY, peer, {name: value}).local, (name, value, peer))

    def test_other_headers_name_nobody(self) -> None:
        """`Forwarded` and its like are not believed even of trusted proxies; they only show that there was one."""
        for name in ("forwarded", "x-real-ip", "via"):
            asker = asked(LOCAL_NGINX, "127.0.0.1", {name: "for=192.0.2.7"})
            self.assertEqual(asker, Asker("127.0.0.1", False))
        both = {**forwarded("127.0.0.1"), "forwarded": "for=192.0.2.7"}
        self.assertFalse(asked(LOCAL_NGINX, "127.0.0.1", both).local)


class TrustedTests(SynchronousTestCase):
    """Headers from proxies in TRUSTED_PROXIES."""

    def test_nginx_on_this_host(self) -> None:
        """It brings requests from elsewhere, and those of this host."""
        for peer in ("127.0.0.1", "::1", None):
            self.assertEqual(asked(LOCAL_NGINX, peer, forwarded("192.0.2.7")), Asker("192.0.2.7", False))
            self.assertEqual(asked(LOCAL_NGINX, peer, forwarded("127.0.0.1")), Asker("127.0.0.1", True))

    def test_written_by_the_asker(self) -> None:
        """What stood in the header before a proxy added to it is the asker's own invention."""
        asker = asked(LOCAL_NGINX, "127.0.0.1", forwarded("127.0.0.1, 192.0.2.7"))
        self.assertEqual(asker, Asker("192.0.2.7", False))
        asker = asked(FLEET, "10.0.0.1", forwarded("127.0.0.1, 192.0.2.7, 10.0.0.2"))
        self.assertEqual(asker, Asker("192.0.2.7", False))
        lines = asked(FLEET, "10.0.0.1", forwarded(["127.0.0.1", "192.0.2.7", "10.0.0.2"]))
        self.assertEqual(lines, Asker("192.0.2.7", False))

    def test_loopback_elsewhere(self) -> None:
        """A process of a proxy's own host is not one of this host; nor is an asker within the trusted network."""
        self.assertEqual(asked(FLEET, "10.0.0.1", forwarded("127.0.0.1")), Asker("127.0.0.1", False))
        everybody = TrustedProxies.of(["127.0.0.0/8", "10.0.0.0/8"])
        asker = asked(everybody, "127.0.0.1", forwarded("127.0.0.1, 10.0.0.99"))
        self.assertFalse(asker.local)

    def test_chain(self) -> None:
        """Several trusted proxies are passed over; if there is nobody else, the farthest one asks."""
        self.assertEqual(asked(FLEET, "10.0.0.1", forwarded("192.0.2.7, 2001:db8::1, 10.0.0.3")).address, "192.0.2.7")
        self.assertEqual(asked(FLEET, "10.0.0.1", forwarded("10.0.0.9, 10.0.0.3")).address, "10.0.0.9")

    def test_no_address(self) -> None:
        """What is no address is shown as it is, and is not this host."""
        for text in ("unknown", "_hidden", "1.2.3.4.5"):
            self.assertEqual(asked(LOCAL_NGINX, "127.0.0.1", forwarded(text)), Asker(text, False))
        self.assertEqual(asked(LOCAL_NGINX, "127.0.0.1", forwarded("evil\x1b[0m")), Asker("unknown", False))

    def test_ways_to_write_an_address(self) -> None:
        """Ports, brackets and IPv4 in IPv6 do not matter."""
        for text, address in (
            ("192.0.2.7:4711", "192.0.2.7"), ("[2001:db8::7]:4711", "2001:db8::7"), ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"), ('"[::1]:80"', "::1"), ("::ffff:192.0.2.7", "192.0.2.7"),
            (" 10.1.2.3 ", "10.1.2.3"),
        ):  # fmt: skip
            self.assertEqual(address_in(text), ip_address(address))
        for text in ("", "a:b:c", "[", "10.1", "host.example"):
            self.assertIsNone(address_in(text))

    def test_long_chains(self) -> None:
        """A header of any length costs little, and nobody becomes local by it."""
        asker = asked(LOCAL_NGINX, "127.0.0.1", forwarded(",".join(["127.0.0.1"] * (MOST_HOPS + 1))))
        self.assertFalse(asker.local)
        self.assertTrue(asked(LOCAL_NGINX, "127.0.0.1", forwarded(",".join(["127.0.0.1"] * MOST_HOPS))).local)


class LawTests(SynchronousTestCase):
    """What holds for whatever is written into headers."""

    ADDRESSES = st.sampled_from(["127.0.0.1", "::1", "10.0.0.1", "192.0.2.7", "unknown", "", "[::1]:1"])
    HEADERS = st.dictionaries(
        st.sampled_from(["x-forwarded-for", "forwarded", "x-real-ip", "via", "x-forwarded-host"]),
        st.lists(st.lists(ADDRESSES, max_size=4).map(", ".join), min_size=1, max_size=3),
    )

    @settings(max_examples=200, deadline=None, database=None)
    @given(HEADERS, st.sampled_from([NOBODY, LOCAL_NGINX, FLEET]), ADDRESSES)
    def test_headers_make_nobody_local(
        self, headers: dict[str, list[str]], trusted: TrustedProxies, peer: str
    ) -> None:
        """A header can only take away that a request is this host's; without a trusted peer it changes nobody."""
        plain, found = asked(trusted, peer), asked(trusted, peer, headers)
        self.assertLessEqual(found.local, plain.local and (trusted is LOCAL_NGINX or not headers))
        if trusted is NOBODY:
            self.assertEqual(found.address, plain.address)

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.lists(ADDRESSES, max_size=5))
    def test_last_hop_counts(self, written: list[str]) -> None:
        """Whatever an asker writes, a trusted proxy that adds his address makes him who asks."""
        header = ", ".join([*written, "203.0.113.9"])
        self.assertEqual(asked(LOCAL_NGINX, "127.0.0.1", forwarded(header)), Asker("203.0.113.9", False))


class SettingTests(SynchronousTestCase):
    """TRUSTED_PROXIES."""

    def test_mistakes(self) -> None:
        """What is neither an address nor a network is named."""
        for entry in ("nginx.example", "10.0.0.0/33", "10.0.0.1/8", ""):
            problem = self.assertRaises(ValueError, TrustedProxies.of, ["127.0.0.1", entry])
            self.assertIn(repr(entry), str(problem))
