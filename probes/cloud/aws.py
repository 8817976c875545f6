"""AWS facts for hosts: asked for a diagnosis, for all its hosts at once, kept 30 s, never polled."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from probes.clock import boot_s, wall_s
from probes.cloud.assemble import Mine, Target, evidence_of, nothing
from probes.cloud.clients import Clients
from probes.cloud.gather import Round
from probes.cloud.mine import my_address
from probes.errors import CloudError
from probes.reach.threads import DaemonPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from probes.cloud.facts import AwsEvidence
    from probes.cloud.gather import Gathered
    from probes.config.settings import AwsOptions

_log = logging.getLogger(__name__)
KEEP_S: Final = 30.0
LIMIT_S: Final = 12.0
_OFF: Final = "AWS is not asked: aws.enabled is false; set it to true"


class _Kept(Struct, frozen=True):
    """An answer and until when (on ``boot_s``) it may be given again."""

    evidence: AwsEvidence
    until_s: float


class Aws:
    """Reads AWS facts. One for the whole process; every call is read-only.

    Args:
        options: the ``[aws]`` table.
        configure: is given each new boto3 client with its service and region: a test puts a Stubber on it.
    """

    def __init__(self, options: AwsOptions, configure: Callable[[Any, str, str], None] | None = None) -> None:
        self.options = options
        self.clients = Clients(options.profile, options.region, configure=configure)
        self._plain = DaemonPool("checkip", threads=1, queued=16)
        self._kept: dict[tuple[str, str, str | None], _Kept] = {}
        self._mine: tuple[Mine, float] | None = None

    async def warm(self, regions: Sequence[str] = (), limit_s: float = LIMIT_S) -> str | None:
        """Import boto3, find credentials and make the clients before they are needed.

        Args:
            regions: those of the configured hosts; without any, the default region is made ready.
            limit_s: in seconds, for all.

        Returns:
            Why AWS cannot be asked, None when it can. Nothing is raised.
        """
        if not self.options.enabled:
            return _OFF
        deadline_s = boot_s() + limit_s
        try:
            wanted = dict.fromkeys(regions) or dict.fromkeys([await self.clients.region(deadline_s)])
            await asyncio.gather(*(self.clients.warm(region, deadline_s) for region in wanted))
        except CloudError as error:
            return error.reason
        return None

    async def facts(
        self, targets: Sequence[Target], *, limit_s: float = LIMIT_S, fresh: bool = False
    ) -> dict[str, AwsEvidence]:
        """What AWS says of these hosts, each question asked once for all of them.

        Args:
            targets: the hosts. A target's ``region`` decides where it is asked about; to confirm that an address is
                ours in a second region, ask again with that region.
            limit_s: seconds for everything; what is not answered by then is unknown with that reason.
            fresh: do not use an answer of the last 30 s (after something was changed).

        Returns:
            By host id, one evidence for every target. What could not be learnt is in its ``unknown``; nothing is raised
            but the cancellation of the caller.
        """
        deadline_s = boot_s() + limit_s
        if not self.options.enabled:
            off = Mine(None, "AWS is not asked")
            return {target.host_id: nothing(target.region, _OFF, off, wall_s()) for target in targets}
        default = await self._default_region(targets, deadline_s)
        found: dict[str, AwsEvidence] = {}
        by_region: dict[str, list[Target]] = {}
        nowhere: list[Target] = []
        for target in targets:
            region = target.region or default
            kept = None if fresh or isinstance(region, CloudError) else self._kept.get(_key(region, target))
            if isinstance(region, CloudError):
                nowhere.append(target)
            elif kept is not None and kept.until_s > boot_s():
                found[target.host_id] = kept.evidence
            else:
                by_region.setdefault(region, []).append(target)
        rounds = (self._ask(region, asked, deadline_s) for region, asked in by_region.items())
        mine, answers = await asyncio.gather(self._my_address(deadline_s), asyncio.gather(*rounds))
        for (region, asked), got in zip(by_region.items(), answers, strict=True):
            found |= self._assemble(region, asked, got, mine)
        if isinstance(default, CloudError):
            found |= {target.host_id: nothing(None, default.reason, mine, wall_s()) for target in nowhere}
        return found

    def close(self) -> None:
        """Let the threads end. Calls under way end by their own limits and are not waited for."""
        self.clients.close()
        self._plain.close()

    async def _default_region(self, targets: Sequence[Target], deadline_s: float) -> str | CloudError:
        if all(target.region for target in targets):
            return ""
        try:
            return await self.clients.region(deadline_s)
        except CloudError as error:
            return error

    async def _ask(self, region: str, targets: list[Target], deadline_s: float) -> Gathered | str:
        """One round of questions; where an answer was not understood, that as a reason."""
        round_ = Round(self.clients, region, deadline_s, with_ssm=self.options.allow_ssm)
        ids = [target.instance_id for target in targets if target.instance_id]
        try:
            return await round_.gather([target.address for target in targets], ids)
        except Exception as error:  # noqa: BLE001  # a malformed answer must not end the diagnosis of what else is known
            return _not_understood(error)

    def _assemble(self, region: str, targets: list[Target], got: Gathered | str, mine: Mine) -> dict[str, AwsEvidence]:
        try:
            if not isinstance(got, str):
                found = {target.host_id: evidence_of(target, region, got, mine, wall_s()) for target in targets}
                self._keep(region, targets, found, passing=got.passing)
                return found
            reason = got
        except Exception as error:  # noqa: BLE001  # as above
            reason = _not_understood(error)
        return {target.host_id: nothing(region, reason, mine, wall_s()) for target in targets}

    def _keep(self, region: str, targets: list[Target], found: dict[str, AwsEvidence], *, passing: bool) -> None:
        """Remember answers; what may be answered when asked again is not (the responder may just have logged in)."""
        now_s = boot_s()
        self._kept = {key: kept for key, kept in self._kept.items() if kept.until_s > now_s}
        if not passing:
            for target in targets:
                self._kept[_key(region, target)] = _Kept(found[target.host_id], now_s + KEEP_S)

    async def _my_address(self, deadline_s: float) -> Mine:
        """Our address as AWS sees it: configured, or asked for when that is allowed, and kept as long as facts are."""
        if self._mine is not None and self._mine[1] > boot_s():
            return self._mine[0]
        options = self.options
        if options.my_address:
            return Mine(options.my_address, "aws.my_address in the configuration")
        if not options.ask_my_address:
            return Mine(None, "aws.my_address is not set, and aws.ask_my_address is false")
        mine = await self._asked_address(deadline_s)
        if mine.address is not None:
            self._mine = (mine, boot_s() + KEEP_S)
        return mine

    async def _asked_address(self, deadline_s: float) -> Mine:
        try:
            address = await self._plain.run(partial(my_address), max(0.0, deadline_s - boot_s()))
        except Exception as error:  # noqa: BLE001  # whatever went wrong, our address is unknown and AWS goes on
            _log.info("aws: asking for our own address failed: %s", type(error).__name__)
            return Mine(None, f"asking for it failed: {type(error).__name__}")
        return Mine(address, "told by checkip.amazonaws.com")


def _not_understood(error: Exception) -> str:
    _log.error("aws: an answer was not understood", exc_info=error)
    return f"an answer of AWS was not understood ({type(error).__name__}); quarterdeck --log-file has more"


def _key(region: str, target: Target) -> tuple[str, str, str | None]:
    return region, target.address, target.instance_id
