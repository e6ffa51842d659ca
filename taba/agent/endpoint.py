"""What an agent expects of a server, however it is reached."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from taba.errors import TabaError
from taba.wire.v2 import AppendAnswer, AppendRequest, Topology


class EndpointDown(TabaError):
    """Nothing is known of the request: it may have been carried out, or may be yet. `retry_after` is what the server
    asks for, in seconds; `too_large` says that somebody on the way found the request so.
    """

    def __init__(self, reason: str, retry_after: float | None = None, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.too_large = too_large


class WrongCluster(TabaError):
    """The server belongs to another cluster than the request is for; nothing was carried out."""

    def __init__(self, name: str, cluster: str) -> None:
        super().__init__(f"{name} belongs to cluster {cluster}")
        self.name = name
        self.cluster = cluster


class IEndpoint(Interface):
    """One server. Both methods fail with EndpointDown when nothing is known, in bounded time."""

    name = Attribute("What to call it in logs.")

    def topology() -> Deferred[Topology]:
        """What the server says of its cluster."""

    def append(request: AppendRequest) -> Deferred[AppendAnswer]:
        """Append batches; WrongCluster when they are for another one."""
