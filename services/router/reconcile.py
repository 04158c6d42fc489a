"""Keeps in vLLM what the routes need, and nothing else: desired against actual state, in rounds."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.base import AdapterRef
from schemas.evaluation import Probe
from schemas.route import RouteSpec
from services.router.fleet import Fleet
from services.router.probe import ProbeFailed, prove
from services.router.shelf import Shelf
from services.router.state import RouteView
from services.router.table import RouteTable
from services.router.upstream import Upstream, UpstreamAway
from shared.describing import describe
from shared.errors import RatchetError
from shared.telemetry import log

# What the trainer names; anything else in vLLM is not ours to unload
ADAPTER_NAME = re.compile(r"[a-z0-9-]+--[a-z0-9-]+@[0-9a-f]{12}")
# Seconds between attempts to load an adapter that fails.
LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class Wanted:
    """An adapter that must be loaded, with what proves it."""

    adapter: AdapterRef
    spec: RouteSpec
    probe: Probe | None


def desired(views: Iterable[RouteView], most: int) -> dict[str, Wanted]:
    """Return what to load, by adapter id: at most as many as vLLM may hold.

    Champions come first, then challengers, then the champions before them.
    """
    ranked = [
        (rank, Wanted(adapter, view.state.spec, view.probes.get(adapter.adapter_id)))
        for view in views
        for rank, adapter in _ranked(view)
    ]
    ranked.sort(key=lambda pair: pair[0])
    return {wanted.adapter.adapter_id: wanted for _, wanted in ranked[:most]}


def _ranked(view: RouteView) -> list[tuple[int, AdapterRef]]:
    state = view.state
    ranked = (
        (0, state.champion),
        (1, state.challenger.adapter if state.challenger else None),
        (2, state.previous),
    )
    return [(rank, adapter) for rank, adapter in ranked if adapter]


@dataclass
class Reconciler:
    table: RouteTable
    fleet: Fleet
    upstream: Upstream
    shelf: Shelf
    base_model: str
    most: int
    # Seconds between two rounds, unless a route changes.
    every: float
    # Seconds that an adapter stays loaded after the last route stopped wanting it.
    drain: float
    _idle_since: dict[str, float] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)

    async def run(self) -> None:
        """Run until cancelled, in rounds; the next one begins at once when a route changed."""
        while True:
            self.table.changed.clear()
            try:
                await self.step()
            except UpstreamAway:
                self._went_away()
            # The loop outlives whatever one round meets.
            except Exception as error:  # noqa: BLE001
                log("reconcile").error(
                    "round failed", kind=type(error).__name__, error=describe(error)[:300]
                )
            try:
                # Not `wait_for`: it loses a cancellation that meets a change.
                async with asyncio.timeout(self.every):
                    await self.table.changed.wait()
            except TimeoutError:
                pass

    async def step(self) -> None:
        self.fleet.saw(await self.upstream.models(), self.base_model)
        wanted = desired(self.table.views.values(), self.most)
        await self._unload_drained(wanted)
        for adapter_id, one in wanted.items():
            due = time.monotonic() >= self._not_before.get(adapter_id, 0.0)
            if due and not self.fleet.serving(adapter_id):
                await self._bring(one)

    async def _bring(self, wanted: Wanted) -> None:
        """Fetch, examine, load and prove an adapter; only then may traffic go there."""
        adapter_id = wanted.adapter.adapter_id
        try:
            folder = await self.shelf.fetch(wanted.adapter)
            if adapter_id not in self.fleet.loaded:
                await self.upstream.load(adapter_id, folder)
            await prove(self.upstream, self.base_model, adapter_id, wanted.spec, wanted.probe)
        except UpstreamAway:
            raise
        except (RatchetError, OSError) as error:
            await self._blame(adapter_id, error)
        else:
            self.fleet.prove(adapter_id)
            self._not_before.pop(adapter_id, None)
            log("reconcile").info("adapter proven", adapter_id=adapter_id)

    async def _blame(self, adapter_id: str, error: Exception) -> None:
        strikes = self.fleet.blame(adapter_id, describe(error))
        self._not_before[adapter_id] = time.monotonic() + min(2.0 ** (strikes - 1), LONGEST_WAIT)
        log("reconcile").error(
            "adapter not served", adapter_id=adapter_id, strikes=strikes, error=type(error).__name__
        )
        if isinstance(error, ProbeFailed):
            await self.upstream.unload(adapter_id)

    async def _unload_drained(self, wanted: dict[str, Wanted]) -> None:
        """Unload what nobody has wanted for `drain` seconds.

        Requests that chose an adapter before it was replaced must still find it.
        """
        surplus = {
            name
            for name in self.fleet.loaded
            if name not in wanted and ADAPTER_NAME.fullmatch(name)
        }
        self._idle_since = {name: self._idle_since.get(name, time.monotonic()) for name in surplus}
        for name, since in self._idle_since.items():
            if time.monotonic() - since >= self.drain:
                self.fleet.forget(name)
                await self.upstream.unload(name)
                log("reconcile").info("adapter unloaded", adapter_id=name)

    def _went_away(self) -> None:
        if self.fleet.up:
            log("reconcile").warning("vLLM does not answer; apps get 503 until it does")
        self.fleet.away()
