"""The actions of the HTTP API and the control socket on the running daemon."""

from collections.abc import Sequence

from fluxcaption.app import App
from fluxcaption.domain.errors import UsageError
from fluxcaption.domain.gaps import Decision
from fluxcaption.domain.jobs import ManualRequest
from fluxcaption.domain.language import LanguageTag
from fluxcaption.domain.units import ItemId, JobId
from fluxcaption.health import Health, PartState
from fluxcaption.pipeline.discovery.scan_requests import ScanRequests
from fluxcaption.pipeline.discovery.scanner import ScanReport
from fluxcaption.pipeline.explain import Explanation, explain
from fluxcaption.web.views import CaptionBody

PAUSED_CAUSE = "paused by a user: `fluxcaption jobs resume` continues the work"


class DaemonControl:
    """The implementation of `web.api.Control` over the object graph of the running daemon."""

    def __init__(self, app: App, health: Health, scan_requests: ScanRequests) -> None:
        self._app = app
        self._health = health
        self._scan_requests = scan_requests

    async def scan(self) -> ScanReport:
        """Run a full scan and return its report.

        Raises:
            JobError: The scan was aborted.
        """
        return await self._scan_requests.request_and_wait(full=True)

    def wake_workers(self) -> None:
        """Make the workers look for due jobs now."""
        self._app.workers.wake()

    def cancel_running(self, job_id: JobId) -> None:
        """Stop the attempt of a cancelled job."""
        self._app.workers.cancel_running(job_id)

    async def restore_pause(self) -> None:
        """Apply the pause that was stored before the daemon's start."""
        await self._app.queue_pause.restore()
        if self._app.queue_pause.is_active:
            self._report_pause()

    async def set_paused(self, is_paused: bool) -> None:
        """Pause or resume the queue, and store that."""
        await self._app.queue_pause.set(is_paused)
        self._report_pause()
        self._app.workers.wake()

    def _report_pause(self) -> None:
        self._health.report("queue", PartState.OK, PAUSED_CAUSE if self._app.queue_pause.is_active else "")

    async def explain(self, item_id: ItemId) -> Explanation:
        """Return the decision chain of an item."""
        return await explain(self._app.server, self._app.storage, self._app.planner, item_id)

    async def undo(self, item_id: ItemId | None, *, dry_run: bool) -> Sequence[str]:
        """Remove the tracks made for an item, or for all items. Return one line for each track."""
        return await self._app.deliverer.undo(self._app.playback.server_id, item_id, dry_run=dry_run)

    async def request_item(self, body: CaptionBody) -> Sequence[Decision]:
        """Queue the jobs of a manual request. Return the decision for each language.

        Raises:
            UsageError: A target is not a language code.
            ItemGone: The item is not in the library.
        """
        try:
            targets = [LanguageTag.parse(text) for text in body.targets]
        except ValueError as error:
            raise UsageError(str(error)) from error
        request = ManualRequest(source=body.source, model=body.model, redo=body.redo)
        return await self._app.enqueuer.enqueue_requested(ItemId(body.item_id), targets, request)
