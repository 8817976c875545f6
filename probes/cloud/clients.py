"""The one door to boto3: sessions and clients made once and kept, calls in threads of their own, errors as reasons.

boto3 is imported when the first client is made, in a thread, never when this module is imported.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from probes.clock import boot_s
from probes.cloud.operations import INTERFACES
from probes.cloud.reasons import Asked, cloud_error, error_code, is_throttling
from probes.errors import CloudError
from probes.reach.threads import DaemonPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from probes.cloud.operations import Operation

_log = logging.getLogger(__name__)
_THREADS: Final = 12
_QUEUED: Final = 1024
#: a filter of EC2 takes at most this many values
MAX_VALUES: Final = 200
#: pages of one answer; more is not an answer to a question about a few hosts
_MAX_PAGES: Final = 50


class NoCredentialsError(Exception):
    """The credential chain ended without credentials: botocore's error of the same name, before a call is wasted."""


class NoRegionError(Exception):
    """No region is configured anywhere: botocore's error of the same name."""


class Limits(Struct, frozen=True, kw_only=True):
    """Of one call, in seconds: connect and read; ``attempts`` counts the first one."""

    connect_s: float = 2.0
    read_s: float = 5.0
    attempts: int = 3


class Clients:
    """boto3's clients for one profile.

    Args:
        profile: the profile of the AWS configuration; empty: the environment's.
        region: the region where a target names none; empty: the environment's.
        limits: of a single call.
        configure: is given each new client, so that a test can put a botocore Stubber on it.
    """

    def __init__(
        self,
        profile: str = "",
        region: str = "",
        limits: Limits | None = None,
        configure: Callable[[Any, str, str], None] | None = None,
    ) -> None:
        self.profile = profile
        self._region = region
        self._limits = limits or Limits()
        self._configure = configure
        self._pool = DaemonPool("aws", threads=_THREADS, queued=_QUEUED)
        #: sessions and the making of clients are not safe between threads; calls on a client are
        self._lock = threading.Lock()
        self._session: Any = None
        self._made: dict[tuple[str, str], Any] = {}
        #: by service and region: with which code AWS last told us to slow down, and when (on ``boot_s``)
        self._throttled: dict[tuple[str, str], tuple[str, float]] = {}
        #: when it was last found (on ``boot_s``) that there are no credentials
        self._lacking_s = 0.0
        #: how often everything was made anew
        self._generation = 0

    async def region(self, deadline_s: float) -> str:
        """The region where a target names none: configured, else the environment's, else the profile's.

        Raises:
            CloudError: there is none, or the profile cannot be read.
        """
        if self._region:
            return self._region
        return await self._run(
            partial(self._default_region, deadline_s), Asked(INTERFACES, "", self.profile), deadline_s
        )

    async def warm(self, region: str, deadline_s: float) -> None:
        """Import boto3, find credentials and make the EC2 client of a region, so that the first question is quick.

        Raises:
            CloudError: what a question would raise.
        """
        make = partial(self._client, "ec2", region, boot_s())
        await self._run(make, Asked(INTERFACES, region, self.profile), deadline_s)

    async def ask(
        self, operation: Operation, region: str, deadline_s: float, **parameters: Any
    ) -> list[dict[str, Any]]:
        """Call an operation and return its items, of all pages; an operation without items gives its one answer.

        Args:
            operation: from ``probes.cloud.operations``.
            region: where.
            deadline_s: on the clock of ``boot_s``; a call that is not back by then is given up.
            parameters: of the operation, as boto3 names them.

        Raises:
            CloudError: whatever went wrong.
        """
        call = partial(self._call, operation, region, parameters, boot_s())
        return await self._run(call, Asked(operation, region, self.profile), deadline_s)

    def close(self) -> None:
        """Let the threads end; a call under way ends by its own limits."""
        self._pool.close()

    async def _run(self, call: Callable[[], Any], asked: Asked, deadline_s: float) -> Any:
        generation = self._generation
        began_s = boot_s()
        try:
            return await self._pool.run(call, max(0.0, deadline_s - boot_s()))
        except Exception as caught:  # noqa: BLE001  # every failure of AWS is a reason, none is an exception to triage
            code, at_s = self._throttled.get((asked.operation.service, asked.region), ("", 0.0))
            error = cloud_error(caught, asked, code if at_s >= began_s else None)
            # the message may hold secrets, so its class alone is logged
            _log.info("aws: %s in %s: %s", asked.operation.action, asked.region, type(caught).__name__)
            if error.whole:
                self._forget(generation)
            raise error from None

    def _forget(self, generation: int) -> None:
        """Make a new session and clients next time: an expired session is renewed outside, and clients keep the old.

        Many calls fail at once; only the first of those that began with the same session does it.
        """
        if generation != self._generation:
            return
        self._generation += 1
        # not under the lock, which a thread may hold while it looks for credentials: the event loop must not wait
        self._session, self._made = None, {}

    def _default_region(self, _deadline_s: float) -> str:
        region = os.environ.get("AWS_REGION")
        if not region:
            with self._lock:
                region = self._open_session().region_name
        if not region:
            raise NoRegionError
        return region

    def _open_session(self) -> Any:
        """The session; ``self._lock`` is held."""
        if self._session is None:
            # 370 ms that only those pay who ask AWS; boto3 has no types either way
            boto3: Any = import_module("boto3.session")
            self._session = boto3.Session(profile_name=self.profile or None)
        return self._session

    def _client(self, service: str, region: str, began_s: float) -> Any:
        with self._lock:
            # looking for credentials may take seconds (a metadata service that is silent): once for all who wait
            if self._lacking_s > began_s:
                raise NoCredentialsError
            # kept aside: a client that was made while everything was forgotten belongs to what was forgotten
            made = self._made
            client = made.get((service, region))
            if client is None:
                config: Any = import_module("botocore.config")
                session = self._open_session()
                if session.get_credentials() is None:
                    self._lacking_s = boot_s()
                    raise NoCredentialsError
                options = config.Config(
                    retries={"mode": "adaptive", "total_max_attempts": self._limits.attempts},
                    connect_timeout=self._limits.connect_s,
                    read_timeout=self._limits.read_s,
                    max_pool_connections=_THREADS,
                )
                client = session.client(service, region_name=region, config=options)
                # throttled calls wait longer and longer for their turn: who gives up then must know why
                client.meta.events.register(f"needs-retry.{service}", partial(self._note, service, region))
                if self._configure is not None:
                    self._configure(client, service, region)
                made[service, region] = client
            return client

    def _note(self, service: str, region: str, response: Any = None, **_: Any) -> None:
        """Remember a throttled attempt; boto3 tells of each one before it decides whether to try again."""
        answer: Any = {} if response is None else response[1]
        code = str(answer.get("Error", {}).get("Code", ""))
        if is_throttling(code):
            self._throttled[service, region] = (code, boot_s())

    def _call(
        self, operation: Operation, region: str, parameters: dict[str, Any], began_s: float
    ) -> list[dict[str, Any]]:
        """In a thread: all pages of an operation."""
        client = self._client(operation.service, region, began_s)
        try:
            return _items(client, operation, parameters)
        except Exception as error:
            if error_code(error) in operation.absent:
                return []
            raise


def _items(client: Any, operation: Operation, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    if operation.pages == "paginator":
        answers = iter(client.get_paginator(operation.method).paginate(**parameters))
    else:
        answers = _by_token(getattr(client, operation.method), parameters, operation)
    items: list[dict[str, Any]] = []
    for number, answer in enumerate(answers, 1):
        if number > _MAX_PAGES:
            cause = f"{operation.action} has more than {_MAX_PAGES} pages"
            raise CloudError(cause, next_step="ask about fewer hosts at once")
        items += (answer.get(operation.items) or []) if operation.items else [answer]
    return items


def _by_token(method: Callable[..., Any], parameters: dict[str, Any], operation: Operation) -> Any:
    """The answers of an operation that boto3 has no paginator for."""
    more: dict[str, Any] = {}
    while True:
        answer = method(**parameters, **more)
        yield answer
        token = answer.get("NextToken") if operation.pages == "token" else None
        if not token:
            return
        more = {"NextToken": token}
