"""What a site answers is counted, whatever way it was answered; and labels stay few, whatever is asked for."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from taba.metrics import Exposition
from taba.web.answers import Leaf, Root, write_text
from taba.web.measured import OTHER, AnsweredRequests
from taba.web.site import BoundedSite
from tests.test_metrics import read
from tests.web.test_site import Transport

Numbers = dict[tuple[str, str], float]


class CountingTests(SynchronousTestCase):
    """Requests to a site with two paths, over connections of their own."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.waiting: Deferred[None] = Deferred()
        leaves = {"plain": Leaf(get=self.plain, post=self.plain), "later": Leaf(get=self.later)}
        self.answered = AnsweredRequests()
        self.answered.know(leaves)
        root = Root(dict(leaves))
        self.site = BoundedSite(root, self.clock, {}, default_limit=10, answered=self.answered)

    def plain(self, request: Request) -> None:
        """Answer at once."""
        write_text(request, "ok\n")

    def later(self, request: Request) -> Deferred[None]:
        """Answer when the test says so."""
        return self.waiting.addCallback(lambda _: write_text(request, "ok\n"))

    def ask(self, head: str, body: bytes = b"") -> None:
        """One request on a connection."""
        channel = self.site.buildProtocol(None)
        assert channel is not None
        channel.makeConnection(Transport())
        channel.dataReceived(f"{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    def numbers(self, name: str) -> Numbers:
        """(path, status) -> value of one of the site's numbers."""
        into = Exposition()
        self.answered.expose(into, "taba_x")
        found = read(into.text()).get(name, {})
        return {(dict(key)["path"], dict(key).get("status", "")): value for key, value in found.items()}

    def test_statuses(self) -> None:
        """Answers, refusals before the body was read, and methods that a path does not take."""
        self.ask("GET /plain?re=1")
        self.ask("POST /plain", b"x" * 11)
        self.ask("PUT /plain")
        self.assertEqual(self.numbers("taba_x_http_requests_total"),
                         {("/plain", "200"): 1, ("/plain", "413"): 1, ("/plain", "405"): 1})

    def test_time(self) -> None:
        """A request takes as long as its answer takes to be whole."""
        self.ask("GET /later")
        self.assertEqual(self.numbers("taba_x_http_requests_total"), {})
        self.clock.advance(1.5)
        self.waiting.callback(None)
        self.assertEqual(self.numbers("taba_x_http_request_seconds_sum"), {("/later", ""): 1.5})

    def test_any_path(self) -> None:
        """Whoever asks for a thousand paths that there are not makes one number of them."""
        for number in range(1000):
            self.ask(f"GET /{number}")
        self.assertEqual(self.numbers("taba_x_http_requests_total"), {(OTHER, "404"): 1000})
