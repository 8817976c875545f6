"""Language models behind an OpenAI-compatible API, measured: how soon an answer begins, how fast it goes on."""
