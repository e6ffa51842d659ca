"""The settings of server and agent: one frozen class each, gathered from a file, the environment and the command line.

`agent` and `server` say what can be told, `fields` how a field says so, `values` turns what JSON and TOML have into
fields, `environment` and `files` read, `gathering` puts everything over one another and remembers where it came from.
A field's metadata holds its key, what it means, its unit and its range; docs/reference/settings.md is made from them.
Sizes are in bytes, times in seconds unless the key says otherwise. A mistake is a SettingsError: a sentence with the
key, where it stands, and what might have been meant.
"""

from taba.settings.agent import AgentSettings, DoubleAgentSettings
from taba.settings.database import DatabaseSettings, ShardSettings
from taba.settings.endpoint import Endpoint
from taba.settings.gathering import Gathered, gather, load, structure
from taba.settings.server import ServerSettings, TabSettings

__all__ = [
    "AgentSettings",
    "DatabaseSettings",
    "DoubleAgentSettings",
    "Endpoint",
    "Gathered",
    "ServerSettings",
    "ShardSettings",
    "TabSettings",
    "gather",
    "load",
    "structure",
]
