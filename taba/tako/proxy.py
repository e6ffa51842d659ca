"""A proxy: serves HTTP for outside clients, and keeps nothing but a copy of the configuration."""

from __future__ import annotations

from taba.binding import tcp_endpoint
from taba.process import Process
from taba.tako.member import Member
from taba.tako.placement import Placement
from taba.tako.settings import ProxySettings
from taba.tako.status import proxy_tree


class TakoProxy(Member):
    """One proxy."""

    settings: ProxySettings

    async def open(self, placement: Placement) -> None:
        """Open the ports."""
        endpoints = [tcp_endpoint(self.settings.interface, port) for port in self.settings.ports]
        endpoints += self.settings.listen
        await self.serve(endpoints, proxy_tree(self))
        assert self.listening is not None
        self.process.say(f"Tako proxy {self.settings.name}: clients on {', '.join(self.listening.urls())}. Ready.")


def make_proxy(settings: ProxySettings, process: Process) -> TakoProxy:
    """The service of a proxy on any machine, the simulated one included."""
    return TakoProxy(settings, process)
