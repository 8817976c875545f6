"""What we measure on demand. Runs without a screen."""
