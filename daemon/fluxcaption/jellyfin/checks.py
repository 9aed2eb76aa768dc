"""The connection checks of `doctor`.

The checks only read, except for the delivery test, which subscribes our webhook destination to one more event
type while it runs.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from fluxcaption.domain.errors import FluxCaptionError, KeyRejected, ServiceUnreachable
from fluxcaption.jellyfin.admin import NOT_JELLYFIN, PROXY, JellyfinAdmin
from fluxcaption.jellyfin.answer import CERTIFICATE_NOT_TRUSTED, NO_TLS, REDIRECTS, STARTING, WEB_PAGE
from fluxcaption.jellyfin.client import JellyfinClient
from fluxcaption.jellyfin.findings import Finding, Severity
from fluxcaption.jellyfin.path_map_check import check_path_map
from fluxcaption.jellyfin.versions import OLDEST_SUPPORTED, REFUSES_ALL_UPLOADS, Version, read_version
from fluxcaption.jellyfin.webhook_checks import WaitForDevice, check_webhook, check_webhook_delivery
from fluxcaption.settings import JellyfinConfig, Settings

MAX_SHOWN_USERS = 5


async def check_server(
    settings: Settings, version: str, wait_for_device: WaitForDevice | None
) -> list[Finding]:
    """Run all checks; end early if a failed check makes the following ones meaningless.

    Args:
        settings: Configuration with a Jellyfin server.
        version: Version of this daemon, sent to the server.
        wait_for_device: Waits for the test event; None if no daemon runs that could receive it.
    """
    server = settings.server
    assert isinstance(server, JellyfinConfig)
    client = JellyfinClient(server, version)
    admin = JellyfinAdmin(client)
    try:
        findings, is_usable = await _check_connection(admin, server)
        if is_usable:
            findings += await _check_setup(
                [
                    ("webhook", lambda: check_webhook(admin, settings)),
                    ("public_url", lambda: check_webhook_delivery(admin, settings, wait_for_device)),
                    ("path_map", lambda: check_path_map(client, server)),
                    ("viewers", lambda: _check_subtitle_modes(admin)),
                ]
            )
        return findings
    finally:
        await client.close()


async def _check_connection(admin: JellyfinAdmin, server: JellyfinConfig) -> tuple[list[Finding], bool]:
    """Check address, certificate, version and key. Return the findings, and True if the server is usable."""
    try:
        identity = await admin.public_info()
    except ServiceUnreachable as error:
        return [_unreachable(server, error)], False
    version = read_version(identity.version)
    findings = [
        Finding("address", Severity.OK, f"{identity.name} answers at {server.url.rstrip('/')}"),
        Finding("base path", Severity.OK, "the base path is right"),
        Finding("service", Severity.OK, f"the service is Jellyfin {identity.version}"),
        _check_certificate(server),
        _check_version(version, server),
    ]
    if version < OLDEST_SUPPORTED:
        return findings, False
    try:
        await admin.check_key(server.api_key.get_secret_value() if server.api_key else "")
    except KeyRejected:
        key = Finding(
            "key",
            Severity.PROBLEM,
            "the server rejects the API key, or the key is not an administrator's",
            "create a new key with fluxcaption link, or under Dashboard > API Keys",
        )
        return [*findings, key], False
    except ServiceUnreachable as error:
        # A starting server answers the public route, and nothing else, at any base path.
        return [_unreachable(server, error)], False
    return [*findings, Finding("key", Severity.OK, "the server accepts the API key")], True


async def _check_setup(checks: list[tuple[str, Callable[[], Awaitable[Finding]]]]) -> list[Finding]:
    """Run independent checks; the error of one becomes its finding."""
    findings = []
    for name, check in checks:
        try:
            findings.append(await check())
        except FluxCaptionError as error:
            findings.append(Finding(name, Severity.PROBLEM, str(error), "see the server's log"))
    return findings


@dataclass(frozen=True, slots=True)
class _Cause:
    """A known cause of a failed connection.

    Attributes:
        prefix: Start of the error's detail.
        check: Name of the check that reports the cause.
    """

    prefix: str
    check: str
    severity: Severity
    fix: str


_BASE_PATH_FIX = "set server.url to the address in the browser, with the base path of Dashboard > Networking"
_CAUSES = (
    _Cause(
        CERTIFICATE_NOT_TRUSTED,
        "certificate",
        Severity.PROBLEM,
        "set server.ca_file to the certificate authority of the server, "
        "and use the host name that the certificate is issued for",
    ),
    _Cause(
        NO_TLS,
        "certificate",
        Severity.PROBLEM,
        "begin server.url with http://, or enable HTTPS under Dashboard > Networking",
    ),
    _Cause(REDIRECTS, "base path", Severity.PROBLEM, f"{_BASE_PATH_FIX}, and with http or https as there"),
    _Cause(WEB_PAGE, "base path", Severity.PROBLEM, _BASE_PATH_FIX),
    _Cause(NOT_JELLYFIN, "service", Severity.PROBLEM, _BASE_PATH_FIX),
    _Cause(
        PROXY,
        "proxy",
        Severity.PROBLEM,
        "configure the proxy to require no login from this machine and to pass the Authorization header on",
    ),
    _Cause(
        STARTING,
        "address",
        Severity.WARNING,
        "wait until the server has started; the first start after an upgrade may take hours",
    ),
)


def _unreachable(server: JellyfinConfig, error: ServiceUnreachable) -> Finding:
    for cause in _CAUSES:
        if error.detail.startswith(cause.prefix):
            return Finding(cause.check, cause.severity, error.detail, cause.fix)
    return Finding(
        "address",
        Severity.PROBLEM,
        f"{server.url} is unreachable: {error.detail}",
        "check that the server runs, and that server.url is reachable from this machine",
    )


def _check_certificate(server: JellyfinConfig) -> Finding:
    if not server.url.startswith("https://"):
        return Finding("certificate", Severity.SKIPPED, "the connection uses http")
    if not server.tls_verify and server.ca_file is None:
        return Finding(
            "certificate",
            Severity.WARNING,
            "the server's certificate is not verified",
            "set server.ca_file and remove tls_verify: false",
        )
    return Finding("certificate", Severity.OK, "the certificate is trusted")


def _check_version(version: Version, server: JellyfinConfig) -> Finding:
    if version < OLDEST_SUPPORTED:
        return Finding("version", Severity.PROBLEM, "the server is older than 10.10", "update Jellyfin")
    if version == REFUSES_ALL_UPLOADS:
        effect = "sidecars are written through server.path_map" if server.path_map else "uploads are paused"
        alternative = "" if server.path_map else ", or set server.path_map"
        return Finding(
            "version",
            Severity.PROBLEM,
            f"Jellyfin 10.11.7 refuses every subtitle upload; {effect}",
            f"update Jellyfin to 10.11.8 or newer{alternative}",
        )
    return Finding("version", Severity.OK, "this version accepts subtitle uploads")


async def _check_subtitle_modes(admin: JellyfinAdmin) -> Finding:
    """Check for users whose subtitle mode plays any external track automatically."""
    names = [user.name for user in await admin.users() if user.subtitle_mode == "Default"]
    if not names:
        return Finding("viewers", Severity.OK, "no user has the subtitle mode Default")
    return Finding(
        "viewers",
        Severity.WARNING,
        f"the subtitle mode of {', '.join(names[:MAX_SHOWN_USERS])} is Default: "
        "an external subtitle file plays automatically, in any language",
        "run fluxcaption link, or set the mode to Smart under User > Subtitles > Subtitle mode",
    )
