"""Plugin bundles: fetching, unpacking, verifying, and building them (tyk-plugins 7).

``load`` returns a verified bundle or raises ``BundleError``; a ``Library`` loads several within one time budget.
"""

from coprocess.bundles.library import Library, load
from coprocess.bundles.settings import BundleError, BundleSettings, LoadedBundle, NotFetched

__all__ = ["BundleError", "BundleSettings", "Library", "LoadedBundle", "NotFetched", "load"]
