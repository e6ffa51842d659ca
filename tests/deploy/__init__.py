"""What docs/deploy/ has for systemd and others is right, as far as their own tools can say."""
