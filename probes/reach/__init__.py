"""How we look at a host from outside: names, TCP, HTTP."""
