"""AWS facts of a host: read-only calls in threads of their own, and what they returned as frozen types."""
