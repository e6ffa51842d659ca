"""StatsD and DogStatsD on an agent: datagrams and streams in, events of Taba out.

`endpoints` says where to listen, `datagrams` and `streams` receive, `gathering` puts what came into the agent's
ordinary intake, `service` holds them together and tells of them. docs/reference/statsd.md is the user's page.
"""
