"""The one way errors of our own are met in callbacks: shown, logged, never the end of the application.

Textual ends the application on an exception in a timer, a message handler, an action or a render. Each of these entry
points carries ``@guarded``; what it catches goes to ``QuarterdeckApp.trouble``, which logs the traceback, writes the
event log and raises the banner. Nothing is hidden.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

F = TypeVar("F", bound="Callable[..., Any]")


def guarded(method: F) -> F:
    """Guard a method of an App, Screen or Widget; on an error it returns None."""
    name = method.__qualname__
    if inspect.iscoroutinefunction(method):

        @wraps(method)
        async def run_async(self: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return await method(self, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - shown, logged and counted by trouble()
                _app_of(self).trouble(name, error)

        return cast("F", run_async)

    @wraps(method)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - shown, logged and counted by trouble()
            _app_of(self).trouble(name, error)

    return cast("F", run)


@contextmanager
def guarding(node: Any, where: str) -> Iterator[None]:
    """The same for a block of code."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - shown, logged and counted by trouble()
        _app_of(node).trouble(where, error)


def _app_of(node: Any) -> Any:
    return node if hasattr(node, "trouble") else node.app
