"""What each release left on disks and in Redis, and that today's code goes on with it."""
