"""Speech synthesis, measured: how long a service takes for a text, and whether what it sends is that text spoken."""
