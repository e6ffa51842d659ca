"""Makes `twistd taba-server`, `twistd taba-agent` and Tako's commands known. `twistd --help` loads this file, so it
imports nothing else.
"""

from twisted.application.service import ServiceMaker

taba_server = ServiceMaker(
    "Taba server", "taba.server_tap", "Receive, fold and serve events: a complete Taba in one process.", "taba-server"
)
taba_agent = ServiceMaker(
    "Taba agent", "taba.agent_tap", "Buffer events durably and forward them to Taba servers.", "taba-agent"
)
tako_node = ServiceMaker("Tako node", "taba.tako.node_tap", "Keep records of a Tako cluster.", "tako-node")
tako_proxy = ServiceMaker("Tako proxy", "taba.tako.proxy_tap", "Serve a Tako cluster's clients.", "tako-proxy")
tako_coordinator = ServiceMaker(
    "Tako coordinator", "taba.tako.coordinator_tap", "Hand out a Tako cluster's configuration.", "tako-coordinator"
)
tako_cluster = ServiceMaker(
    "Tako cluster", "taba.tako.cluster_tap", "Run a whole Tako cluster on this host.", "tako-cluster"
)
