"""Errors by the decision they ask for: each branch of the tree says what the caller does next.

FluxCaptionError
├─ ConfigError              stop, print all problems, exit 78
├─ UsageError               the command cannot be carried out, exit 2
├─ StateError               the state directory is locked, unwritable or of a newer version
└─ JobError                 one job failed; the daemon keeps running
   ├─ TransientError        retried after a pause; the attempt counts
   │  ├─ OutOfMemory
   │  ├─ ReplyUnusable
   │  └─ MediaStillGrowing
   ├─ ParkedError           retried when the service or resource is back; the attempt does not count
   │  ├─ ServiceUnreachable
   │  ├─ KeyRejected
   │  ├─ ModelMissing
   │  ├─ DiskLow
   │  ├─ WriteRefused
   │  └─ ServerRefusesUploads
   └─ PermanentError        not retried
      ├─ ItemGone
      ├─ NoUsableSource
      ├─ NothingToMake
      ├─ UnsupportedLanguagePair
      ├─ MediaUnreadable
      ├─ SubtitleUnreadable
      ├─ NameTooLong
      └─ UnexpectedError

Categories end in `Error`; only leaves are raised for jobs. `code` is stored and shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_FILE_NAME_BYTES = 255
"""Longest file name that common file systems accept."""


class FluxCaptionError(Exception):
    """Base of every error that is reported to the user as one message."""

    code = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in the configuration.

    Attributes:
        place: `FILE:LINE:COL`, or the file alone if the line is unknown.
        key: Dotted key path, empty for the whole file.
        text: Problem and fix.
    """

    place: str
    key: str
    text: str

    def __str__(self) -> str:
        """Return the line shown to the user."""
        return f"{self.place}: {self.key}: {self.text}" if self.key else f"{self.place}: {self.text}"


class ConfigError(FluxCaptionError):
    """Unusable configuration, with all of its problems."""

    code = "config"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class UsageError(FluxCaptionError):
    """Command that cannot be carried out with its arguments."""

    code = "usage"


class StateError(FluxCaptionError):
    """State directory that this process cannot use."""

    code = "state"


class JobError(FluxCaptionError):
    """Failure of one job; the daemon keeps running."""

    code = "job"


class TransientError(JobError):
    """Failure that is retried after a pause; the attempt counts."""

    code = "transient"


class OutOfMemory(TransientError):
    """Work that needed more memory than was available."""

    code = "out-of-memory"


class ReplyUnusable(TransientError):
    """Reply of a service with unusable content."""

    code = "reply-unusable"


class MediaStillGrowing(TransientError):
    """Media file that is still being written."""

    code = "media-still-growing"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is still being written and is retried later")


class ParkedError(JobError):
    """Failure that is retried when the service or resource is back; the attempt does not count."""

    code = "parked"


class ServiceUnreachable(ParkedError):
    """Service that gave no usable answer.

    Attributes:
        service: Name of the service.
        url: Address of the service.
        detail: Cause, empty if unknown.
        was_sent: True if the request may have reached the service.
        retry_after_s: Pause in seconds that the service asked for; 0 if it named none.
    """

    code = "service-unreachable"

    def __init__(
        self, service: str, url: str, detail: str = "", *, was_sent: bool = True, retry_after_s: float = 0.0
    ) -> None:
        self.service, self.url, self.detail = service, url, detail
        self.was_sent = was_sent
        self.retry_after_s = retry_after_s
        cause = f": {detail}" if detail else ""
        # A detail that ends with a question already names what to check.
        advice = "" if detail.endswith("?") else ". Check that it runs and that the address is right."
        super().__init__(f"{service} at {url} gave no usable answer{cause}{advice}")


class KeyRejected(ParkedError):
    """Service that does not accept the configured key."""

    code = "key-rejected"

    def __init__(self, service: str, url: str) -> None:
        self.service, self.url = service, url
        super().__init__(
            f"{service} at {url} rejects the key. Create a new API key there and put it in the config."
        )


class ModelMissing(ParkedError):
    """Model that is not usable on this machine."""

    code = "model-missing"

    def __init__(self, model: str, detail: str) -> None:
        self.model = model
        super().__init__(f"model {model} cannot be used: {detail}")


class DiskLow(ParkedError):
    """Disk with too little free space."""

    code = "disk-low"

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"no space left at {path}. Work resumes by itself when there is. Free some space.")


class WriteRefused(ParkedError):
    """Folder in which a finished track cannot be written."""

    code = "write-refused"

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        super().__init__(f"{path} cannot be written ({detail}). Give the daemon write access to that folder.")


class ServerRefusesUploads(ParkedError):
    """Server version or library that accepts no subtitle uploads.

    Attributes:
        was_sent: True if an upload was sent, which may have left a partial file.
    """

    code = "server-refuses-uploads"

    def __init__(self, detail: str, *, was_sent: bool = True) -> None:
        self.was_sent = was_sent
        super().__init__(f"the server accepts no subtitle uploads: {detail}")


class PermanentError(JobError):
    """Failure that a retry would not change."""

    code = "permanent"


class ItemGone(PermanentError):
    """Item that the server does not know."""

    code = "item-gone"

    def __init__(self, item_id: str) -> None:
        self.item_id = item_id
        super().__init__(f"item {item_id} is no longer in the library")


class NoUsableSource(PermanentError):
    """Item without a usable text or audio track."""

    code = "no-usable-source"


class NothingToMake(PermanentError):
    """Decision to make no track, which is remembered: no speech, too low a score, not wanted."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(reason)


class UnsupportedLanguagePair(PermanentError):
    """Language pair that the translator does not support."""

    code = "unsupported-language-pair"

    def __init__(self, source: str, target: str, translator: str) -> None:
        self.source, self.target, self.translator = source, target, translator
        super().__init__(
            f"{translator} cannot translate {source} to {target}. Add a translation backend that can."
        )


class MediaUnreadable(PermanentError):
    """File that is not media, is damaged, or has no audio."""

    code = "media-unreadable"

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        super().__init__(f"{name} cannot be used: {detail}")


class SubtitleUnreadable(PermanentError):
    """File that is not a text subtitle or exceeds the size limit."""

    code = "subtitle-unreadable"

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        super().__init__(f"{name} cannot be read as a subtitle: {detail}")


class NameTooLong(PermanentError):
    """Track whose file name no file system accepts."""

    code = "name-too-long"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the file name {name[:60]}… has {len(name.encode())} bytes; file systems allow"
            f" {MAX_FILE_NAME_BYTES}. Shorten the name of the film."
        )


class UnexpectedError(PermanentError):
    """Fault of FluxCaption itself; the log has the traceback."""

    code = "unexpected"
