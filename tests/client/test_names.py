"""What can name a client or a tab, and what URL events can be posted to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taba.client.names import Endpoint, columns_url, is_valid_name, parse_url

ALLOWED = "ABCXYZabcxyz0189._~:/?@!$()*+;=-"


class NameTests(SynchronousTestCase):
    def test_allowed_characters(self) -> None:
        """Every character that the protocol allows can stand in a name."""
        self.assertTrue(is_valid_name(ALLOWED))

    def test_other_characters(self) -> None:
        """Any other character spoils a name, also as its last one."""
        others = [chr(i) for i in range(0x180) if chr(i) not in ALLOWED and not (chr(i).isascii() and chr(i).isalnum())]
        self.assertEqual([c for c in others if is_valid_name("a" + c) or is_valid_name(c + "a")], [])

    def test_length(self) -> None:
        """A name has 1 to 512 characters."""
        self.assertEqual([is_valid_name("a" * n) for n in (0, 1, 512, 513)], [False, True, True, False])

    def test_not_a_string(self) -> None:
        """What is no string is no name, and no error either."""
        self.assertEqual([x for x in (None, 5, b"name", ["name"], object()) if is_valid_name(x)], [])


class UrlTests(SynchronousTestCase):
    def test_parts(self) -> None:
        """A URL with all its parts is taken apart, and the usual ports are known."""
        for url, endpoint in (
            ("http://localhost:8279/post", Endpoint(False, "localhost", 8279, "/post", "/v2/events")),
            ("https://a.example/p/post?a=b", Endpoint(True, "a.example", 443, "/p/post?a=b", "/p/v2/events?a=b")),
            ("http://[::1]", Endpoint(False, "::1", 80, "/", None)),
            ("http://localhost/post_zip", Endpoint(False, "localhost", 80, "/post_zip", None)),
        ):
            self.assertEqual(parse_url(url), endpoint)

    def test_place_of_columns(self) -> None:
        """Protocol 2 has its place beside `/post`, wherever that is, and none beside anything else."""
        self.assertEqual(columns_url("http://localhost:8279/post"), "http://localhost:8279/v2/events")
        self.assertEqual(columns_url("https://a.example/p/post?a=b"), "https://a.example/p/v2/events?a=b")
        self.assertEqual([columns_url(f"http://a{path}") for path in ("", "/", "/posts", "/post/")], [None] * 4)
        both = parse_url("http://a/post")
        self.assertEqual([both.target_of(protocol) for protocol in (1, 2)], ["/post", "/v2/events"])

    def test_refused(self) -> None:
        """What is not an http or https URL of a host is refused with a ValueError."""
        for url in (
            "", "localhost:8279/post", "ftp://localhost/post", "http:///post", "http://localhost:port/post",
            "http://localhost/a b", "http://localhost/post\r\nX: y", "http://bücher.example/post", "http://me:secret@host/post",
            None, 8279,
        ):  # fmt: skip
            with self.assertRaises(ValueError, msg=repr(url)):
                parse_url(url)  # type: ignore[arg-type]
