"""What we know of the fleet, and how we learn it. Runs without a screen."""
