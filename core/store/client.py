"""Opening a store."""

from __future__ import annotations

from core.store.base import Store
from core.store.cluster import ClusterStore
from core.store.sentinel import SentinelStore
from core.store.settings import StoreSettings
from core.store.single import EmbeddedStore, SingleStore

__all__ = ["Store", "open_store"]


def open_store(settings: StoreSettings) -> Store:
    """The store for these settings; it connects when it is started."""
    if settings.embedded:
        return EmbeddedStore(settings)
    if settings.master:
        return SentinelStore(settings)
    if settings.cluster:
        return ClusterStore(settings)
    return SingleStore(settings)
