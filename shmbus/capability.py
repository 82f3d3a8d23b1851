"""What a request to the coordinator needs that not every version of the protocol has.

A side drops the fields that it does not know, so a durable subscription that is asked of a coordinator which has none
would come out as a lossy one, in silence. Whoever asks looks here first.
"""

from google.protobuf.message import Message

from shmbus.v1 import control_pb2 as wire

_WHOLE = {
    wire.ForgetDurable: "durable_subscriptions",
    wire.GetKept: "last_per_key",
    wire.Resize: "topic_changes",
    wire.SetLimits: "topic_changes",
    wire.Resume: "takeover",
    wire.AuthorizeCall: "call_rules",
    wire.ExplainAccess: "call_rules",
    wire.ListTopics: "overview",
    wire.ReadLedger: "overview",
    wire.ReloadConfig: "configuration_changes",
}
"""Requests that only came with a capability."""


def needed_by(request: Message) -> str | None:
    """The capability that the other side must have for it; None: any of the same major version can."""
    if isinstance(request, wire.OpenPublisher):
        if request.only_make:
            return "caller_rings"
        return "durable_publishers" if request.durable else "advanced_routing" if request.lane else None
    if isinstance(request, wire.Subscribe):
        if request.HasField("durable"):
            return "durable_subscriptions"
        return "last_per_key" if request.start.last_per_key else None
    return _WHOLE.get(type(request))
