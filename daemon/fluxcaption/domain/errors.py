"""What can go wrong, as decisions: the branch says what happens next.

FluxCaptionError
├─ ConfigError            stop, print all problems, exit 78
├─ UsageError             the command cannot be carried out as asked, exit 2
├─ StateError             the state directory cannot be used: locked, newer, unwritable
└─ JobError               one job failed, the daemon is well
   ├─ TransientError      again after a pause, counted
   │  ├─ OutOfMemory  ReplyUnusable  MediaStillGrowing
   ├─ ParkedError         again when the neighbour is back, not counted
   │  ├─ ServiceUnreachable  KeyRejected  ModelMissing  DiskLow  ServerRefusesUploads  WriteRefused
   └─ PermanentError      give up
      ├─ ItemGone  NoUsableSource  NothingToMake  UnsupportedLanguagePair  MediaUnreadable  SubtitleUnreadable  NameTooLong  UnexpectedError
"""

from collections.abc import Sequence
from dataclasses import dataclass


class FluxCaptionError(Exception):
    """Anything this program reports to a person in one sentence."""

    code = "error"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the configuration.

    Attributes:
        place: `FILE:LINE:COL`, or the file alone when no line can be named.
        key: The dotted key path, empty for the whole file.
        text: What is wrong and what to do about it.
    """

    place: str
    key: str
    text: str

    def __str__(self) -> str:
        """Read as the line a person sees."""
        return f"{self.place}: {self.key}: {self.text}" if self.key else f"{self.place}: {self.text}"


class ConfigError(FluxCaptionError):
    """The configuration cannot be used; every problem is listed."""

    code = "config"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


class UsageError(FluxCaptionError):
    """The command cannot be carried out as it was asked."""

    code = "usage"


class StateError(FluxCaptionError):
    """The state directory cannot be used by this process."""

    code = "state"


class JobError(FluxCaptionError):
    """One job failed; the daemon itself is well."""

    code = "job"


class TransientError(JobError):
    """Worth another attempt after a pause."""

    code = "transient"


class OutOfMemory(TransientError):
    """The work needed more memory than there was."""

    code = "out-of-memory"


class ReplyUnusable(TransientError):
    """A neighbour answered, but nothing in the answer could be used."""

    code = "reply-unusable"


class MediaStillGrowing(TransientError):
    """The media file is still being written."""

    code = "media-still-growing"

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is still being written: it is looked at again later")


class ParkedError(JobError):
    """The work waits for a neighbour and does not count as tried."""

    code = "parked"


class ServiceUnreachable(ParkedError):
    """A neighbour service gave no usable answer."""

    code = "service-unreachable"

    def __init__(
        self, service: str, url: str, detail: str = "", *, was_sent: bool = True, retry_after_s: float = 0.0
    ) -> None:
        self.service, self.url, self.detail = service, url, detail
        self.was_sent = was_sent
        """Whether the request may have arrived, although nothing came back."""
        self.retry_after_s = retry_after_s
        """How long it wishes to be left alone."""
        # A detail that ends with a question says by itself what to look at.
        advice = "" if detail.endswith("?") else ": check that it runs and the address is right"
        super().__init__(f"{service} at {url} gave no usable answer{': ' + detail if detail else ''}{advice}")


class KeyRejected(ParkedError):
    """A neighbour does not accept our key."""

    code = "key-rejected"

    def __init__(self, service: str, url: str) -> None:
        self.service, self.url = service, url
        super().__init__(
            f"{service} at {url} rejects the key: make a new API key there and put it in the config"
        )


class ModelMissing(ParkedError):
    """A model is not on this machine."""

    code = "model-missing"

    def __init__(self, model: str, detail: str) -> None:
        self.model = model
        super().__init__(f"model {model} cannot be used: {detail}")


class DiskLow(ParkedError):
    """There is no room to write."""

    code = "disk-low"

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"no room left at {path}: free some space; the work goes on by itself afterwards")


class WriteRefused(ParkedError):
    """A finished track cannot be written where it belongs."""

    code = "write-refused"

    def __init__(self, path: str, detail: str) -> None:
        self.path = path
        super().__init__(f"{path} cannot be written ({detail}): give the daemon write access to that folder")


class ServerRefusesUploads(ParkedError):
    """This server version or library takes no subtitle uploads."""

    code = "server-refuses-uploads"

    def __init__(self, detail: str, *, was_sent: bool = True) -> None:
        self.was_sent = was_sent
        """Whether it was asked: then it may have left a torso of the file."""
        super().__init__(f"the server takes no subtitle uploads: {detail}")


class PermanentError(JobError):
    """Trying again would change nothing."""

    code = "permanent"


class ItemGone(PermanentError):
    """The server no longer knows the item."""

    code = "item-gone"

    def __init__(self, item_id: str) -> None:
        self.item_id = item_id
        super().__init__(f"item {item_id} is no longer in the library")


class NoUsableSource(PermanentError):
    """There is neither a text track nor an audio track to work from."""

    code = "no-usable-source"


class NothingToMake(PermanentError):
    """There is a reason to make no track, and it is remembered: nobody speaks, too unsure, not wanted."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        super().__init__(reason)


class UnsupportedLanguagePair(PermanentError):
    """No translator here knows both languages."""

    code = "unsupported-language-pair"

    def __init__(self, source: str, target: str, translator: str) -> None:
        self.source, self.target, self.translator = source, target, translator
        super().__init__(
            f"{translator} cannot translate {source} to {target}: add a translation backend that can"
        )


class MediaUnreadable(PermanentError):
    """The file is not media, is damaged, or has no sound."""

    code = "media-unreadable"

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        super().__init__(f"{name} cannot be used: {detail}")


class SubtitleUnreadable(PermanentError):
    """The file is not a text subtitle, or larger than any honest one."""

    code = "subtitle-unreadable"

    def __init__(self, name: str, detail: str) -> None:
        self.name = name
        super().__init__(f"{name} cannot be read as a subtitle: {detail}")


class NameTooLong(PermanentError):
    """No file system takes the name the track would have."""

    code = "name-too-long"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name[:60]}… would be {len(name.encode())} bytes long, and file systems take 255: give the film a shorter name"
        )


class UnexpectedError(PermanentError):
    """A fault of our own; the log has the traceback."""

    code = "unexpected"
