"""The HTTP port of an agent as a twisted.web site."""

from __future__ import annotations

from taba.agent.http import AgentResources
from taba.process import Process
from taba.web.answers import Root
from taba.web.site import BoundedSite


def agent_site(resources: AgentResources, process: Process) -> BoundedSite:
    """All endpoints of an agent, with bodies parsed as they arrive."""
    return BoundedSite(Root(resources.leaves()), process.reactor, resources.bodies())
