"""Which protocol version two sides speak: the same major, and the server's minor not below the client's."""

from shmbus.control import CAPABILITIES
from shmbus.errors import VersionError
from shmbus.v1.eventbus_pb2 import MessageVersion, VersionNegotiationRequest, VersionNegotiationResponse

Version = tuple[int, int, int]


def negotiate(request: VersionNegotiationRequest, ours: Version, peer: str) -> VersionNegotiationResponse:
    """The client's preferred version if acceptable, else the highest acceptable one. Raises VersionError."""
    supported = [_version(one) for one in request.supported_versions]
    preferred = _version(request.preferred_version) if request.HasField("preferred_version") else None
    if preferred is not None and _acceptable(preferred, ours):
        chosen = preferred
    else:
        acceptable = [version for version in supported if _acceptable(version, ours)]
        if not acceptable:
            theirs = ", ".join(_dotted(version) for version in supported or [preferred or (0, 0, 0)])
            raise VersionError(_dotted(ours), theirs, peer)
        chosen = max(acceptable)
    offered = list(CAPABILITIES)
    return VersionNegotiationResponse(
        negotiated_version=_message(chosen),
        server_capabilities=offered,
        compatibility_warnings=_warnings(chosen, preferred, list(request.client_capabilities), offered),
        negotiation_success=True,
    )


def _warnings(chosen: Version, preferred: Version | None, wanted: list[str], offered: list[str]) -> list[str]:
    warnings = [f"the coordinator lacks the capability '{name}'" for name in wanted if name not in offered]
    if preferred is not None and preferred != chosen:
        warnings.append(f"version {_dotted(chosen)} is spoken, not the preferred {_dotted(preferred)}")
    return warnings


def _acceptable(version: Version, ours: Version) -> bool:
    return version[0] == ours[0] and version[1] <= ours[1]


def _version(message: MessageVersion) -> Version:
    return message.major, message.minor, message.patch


def _message(version: Version) -> MessageVersion:
    major, minor, patch = version
    return MessageVersion(major=major, minor=minor, patch=patch, protocol_version=_dotted(version))


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
