"""The HTTP port of an agent as a twisted.web site."""

from __future__ import annotations

from taba.agent.http import AgentResources
from taba.process import Process
from taba.web.answers import Root
from taba.web.site import BoundedSite
from taba.web.token import TokenGuard


def agent_site(resources: AgentResources, process: Process, guard: TokenGuard | None = None) -> BoundedSite:
    """All endpoints of an agent, with bodies parsed as they arrive; with a `guard`, for those who show the token."""
    leaves = resources.leaves()
    resources.answered.know(leaves)
    return BoundedSite(
        Root(leaves), process.reactor, resources.bodies(), guard=guard, answered=resources.answered
    )
