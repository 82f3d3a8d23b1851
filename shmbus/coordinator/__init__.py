"""The coordinator: owns names, access, retention and the lives of collectors, and is on nobody's data path."""

from shmbus.coordinator.coordinator import Coordinator

__all__ = ["Coordinator"]
