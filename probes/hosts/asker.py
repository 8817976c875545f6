"""How the core asks a person for a secret, without knowing whether there is a screen."""

from __future__ import annotations

from typing import Protocol


class Asker(Protocol):
    """Asks one question; the answer is used once and never stored."""

    async def ask(self, prompt: str, *, host_id: str, secret: bool) -> str | None:
        """Return the answer, or None when the person cancelled or nobody is there to ask."""
        ...


class NobodyToAsk:
    """The headless asker: every question is answered with None, and the failure names what was needed."""

    async def ask(self, prompt: str, *, host_id: str, secret: bool) -> str | None:
        """Return None."""
        del prompt, host_id, secret
