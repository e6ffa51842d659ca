"""The way from an agent to the fe in its own process, without HTTP. Knows both, so it stands beside them."""

from __future__ import annotations

from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from zope.interface import implementer

from taba.agent.endpoint import EndpointDown, IEndpoint, WrongCluster
from taba.errors import FrameError, StoreError
from taba.server.frontend import Frontend, WrongClusterError
from taba.wire.v2 import AppendRequest, Topology


@implementer(IEndpoint)
class LocalEndpoint:
    """The fe that `serve` names; nobody is there before."""

    name = "the server in this process"

    def __init__(self) -> None:
        self._frontend: Frontend | None = None

    def serve(self, frontend: Frontend) -> None:
        """Let requests go to this fe from now on."""
        self._frontend = frontend

    def topology(self) -> Deferred[Topology]:
        """See `IEndpoint`."""
        if self._frontend is None:
            return fail(EndpointDown("the server has not started"))
        return succeed(self._frontend.topology())

    @inlineCallbacks
    def append(self, request: AppendRequest):  # type: ignore[no-untyped-def]
        """See `IEndpoint`."""
        if self._frontend is None:
            raise EndpointDown("the server has not started")
        try:
            answer = yield self._frontend.append(request)
        except (StoreError, FrameError) as problem:
            raise EndpointDown(str(problem), 1.0)
        except WrongClusterError as problem:
            raise WrongCluster(self.name, problem.here)
        return answer
