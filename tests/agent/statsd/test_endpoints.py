"""Where StatsD is taken: what an operator may write, and the sentence for what cannot be."""

from __future__ import annotations

import os

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from taba.agent.statsd.endpoints import BUFFER_BYTES, StatsdEndpoint, check_statsd, parse, with_absolute_path
from taba.agent_tap import Options
from taba.errors import SettingsError
from taba.settings import AgentSettings, gather


class EndpointTests(SynchronousTestCase):
    """Endpoint strings."""

    def test_kinds(self) -> None:
        """Each kind, with what it may be told; loopback unless an address is named."""
        self.assertEqual(parse("udp:8125"), StatsdEndpoint("udp", "udp:8125", 8125))
        udp = parse("udp:8125:interface=10.0.0.1:buffer=8192")
        self.assertEqual((udp.interface, udp.buffer, udp.datagrams), ("10.0.0.1", 8192, True))
        tcp = parse("tcp:8126")
        self.assertEqual((tcp.text, tcp.port, tcp.datagrams), ("tcp:8126:interface=127.0.0.1", 8126, False))
        unix = parse("unix:/run/sd.sock:mode=660")
        self.assertEqual((unix.path, unix.mode, unix.buffer), ("/run/sd.sock", 0o660, BUFFER_BYTES))

    def test_mistakes(self) -> None:
        """What is no endpoint is said before anything is opened."""
        for text in (
            "8125", "udp", "udp:x", "udp:65536", "udp:1:2", "udp:1:speed=3", "udp:1:buffer=1", "udp:1:buffer=x",
            "unix:", "unix:/a:mode=9", "tcp:x", "http:80", "udp:1\\",
        ):  # fmt: skip
            self.assertRaises(SettingsError, parse, text)

    def test_strangers(self) -> None:
        """A port that other hosts reach needs --insecure, token or not: StatsD knows none."""
        for text in ("udp:8125:interface=0.0.0.0", "tcp:8126:interface=10.0.0.1"):
            settings = AgentSettings(statsd_listen=(text,), token_file="file")
            self.assertRaises(SettingsError, check_statsd, settings)
            check_statsd(evolve(settings, insecure=True))
        check_statsd(AgentSettings(statsd_listen=("udp:0", "tcp:0", "unix:/x", "udp:8125:interface=\\:\\:1")))

    def test_other_settings(self) -> None:
        """Metrics and clients that cannot be."""
        for settings in (AgentSettings(statsd_types={"x": "Gauge"}), AgentSettings(statsd_client="a b")):
            self.assertRaises(SettingsError, check_statsd, settings)
        self.assertEqual(AgentSettings(statsd_types={"s": ""}).types_by_metric()["s"], "")

    def test_given(self) -> None:
        """The option, a file's text or list, and the environment say the same."""
        options = Options({})
        options.parseOptions(["--statsd", "udp:8125", "--statsd", "unix:sd.sock"])
        listen = options["settings"].statsd_listen
        self.assertEqual(listen, ("udp:8125", f"unix:{os.path.abspath('sd.sock')}"))
        for value in ("udp:8125", '["udp:8125"]'):
            found = gather(AgentSettings, environment={"TABA_STATSD_LISTEN": value}).settings
            self.assertEqual(found.statsd_listen, ("udp:8125",))
        self.assertRaises(SystemExit, Options({}).parseOptions, ["--statsd", "udp:x"])

    def test_paths(self) -> None:
        """A daemon may change its folder; what cannot be used is left for the check."""
        self.assertEqual(with_absolute_path("unix:a"), f"unix:{os.path.abspath('a')}")
        for text in ("udp:1", "unix", "nothing"):
            self.assertEqual(with_absolute_path(text), text)
