"""What every HTTP port of Taba shares: a site with bounded, streamed request bodies, and answers with a reason."""
