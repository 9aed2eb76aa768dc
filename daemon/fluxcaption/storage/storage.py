"""The stored state: one database, one object for each subject."""

from pathlib import Path

from fluxcaption.storage.backlog import BacklogQueries
from fluxcaption.storage.database import Database
from fluxcaption.storage.deliveries import DeliveryTable
from fluxcaption.storage.documents import DocumentTable
from fluxcaption.storage.events import EventTable
from fluxcaption.storage.history import HistoryQueries
from fluxcaption.storage.identities import IdentityTable
from fluxcaption.storage.items import ItemTable
from fluxcaption.storage.job_queue import JobQueueQueries
from fluxcaption.storage.jobs import JobTable
from fluxcaption.storage.maintenance import MaintenanceQueries
from fluxcaption.storage.playback import PlaybackTable
from fluxcaption.storage.skips import SkipTable
from fluxcaption.storage.speeds import SpeedTable
from fluxcaption.storage.state_values import StateValueTable
from fluxcaption.storage.tracks import TrackTable
from fluxcaption.storage.transcripts import TranscriptTables
from fluxcaption.storage.translations import TranslationTable


class SqliteStorage:
    """The state of the daemon, by subject; all objects share one database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.jobs = JobTable(database)
        self.queue = JobQueueQueries(database)
        self.backlog = BacklogQueries(database)
        self.events = EventTable(database)
        self.items = ItemTable(database)
        self.playback = PlaybackTable(database)
        self.tracks = TrackTable(database)
        self.identities = IdentityTable(database)
        self.transcripts = TranscriptTables(database)
        self.translations = TranslationTable(database)
        self.documents = DocumentTable(database)
        self.deliveries = DeliveryTable(database)
        self.skips = SkipTable(database)
        self.history = HistoryQueries(database)
        self.state_values = StateValueTable(database)
        self.speeds = SpeedTable(database)
        self.maintenance = MaintenanceQueries(database)

    @classmethod
    async def open(cls, state: Path, *, read_only: bool = False) -> "SqliteStorage":
        """Open the database below the state directory; create or migrate it first unless `read_only`.

        Raises:
            StateError: The file cannot be opened, is damaged, or its schema is not the one of this program.
            DiskLow: There is no room for the file.
        """
        return cls(await Database.open(state, read_only=read_only))

    async def close(self) -> None:
        """Finish pending writes and close the database."""
        await self.database.close()
