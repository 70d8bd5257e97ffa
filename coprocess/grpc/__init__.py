"""Plugin servers that speak gRPC: the service ``coprocess.Dispatcher`` (tyk-plugins 1.3, 2.1)."""

from coprocess.grpc.driver import GrpcDriver
from coprocess.grpc.settings import GrpcSettings, SettingsError

__all__ = ["GrpcDriver", "GrpcSettings", "SettingsError"]
