"""How we live on a host: transport, agent, session, supervisor."""
