"""Pure functions from evidence to judgement."""
