"""Makes `twistd taba-server` and `twistd taba-agent` known. `twistd --help` loads this file, so it imports nothing
else.
"""

from twisted.application.service import ServiceMaker

taba_server = ServiceMaker(
    "Taba server", "taba.server_tap", "Receive, fold and serve events: a complete Taba in one process.", "taba-server"
)
taba_agent = ServiceMaker(
    "Taba agent", "taba.agent_tap", "Buffer events durably and forward them to Taba servers.", "taba-agent"
)
