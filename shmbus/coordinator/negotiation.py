"""Which protocol version two sides speak: the same major, and the server's minor not below the client's."""

from collections.abc import Iterable, Iterator

from shmbus.errors import VersionError
from shmbus.v1.eventbus_pb2 import VersionNegotiationRequest, VersionNegotiationResponse
from shmbus.version import Speaker, Version


def negotiate(request: VersionNegotiationRequest, ours: Speaker, peer: str) -> VersionNegotiationResponse:
    """The client's preferred version if acceptable, else the highest acceptable one. Raises VersionError."""
    supported = [Version.of(one) for one in request.supported_versions]
    preferred = Version.of(request.preferred_version) if request.HasField("preferred_version") else None
    if preferred is not None and ours.version.accepts(preferred):
        chosen = preferred
    else:
        acceptable = [version for version in supported if ours.version.accepts(version)]
        if not acceptable:
            theirs = ", ".join(map(str, supported or [preferred or Version(0, 0)]))
            raise VersionError(str(ours.version), theirs, peer)
        chosen = max(acceptable)
    able = ours.able(chosen)
    return VersionNegotiationResponse(
        negotiated_version=chosen.message(),
        server_capabilities=able,
        compatibility_warnings=_warnings(chosen, preferred, request.client_capabilities, able, ours),
        negotiation_success=True,
    )


def _warnings(
    chosen: Version, preferred: Version | None, wanted: Iterable[str], able: tuple[str, ...], ours: Speaker
) -> Iterator[str]:
    if preferred is not None and preferred != chosen:
        yield f"version {chosen} is spoken, not the preferred {preferred}"
    for name in wanted:
        if name not in able:
            yield f"the coordinator lacks the capability '{name}'"
        elif name in ours.deprecated:
            yield f"the capability '{name}' is deprecated: {ours.deprecated[name]}"
