"""StatsD on an agent."""
