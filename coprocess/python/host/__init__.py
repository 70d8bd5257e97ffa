"""The host program: runs one bundle. Standard library and protobuf only, Python 3.8 or later, never imported by a worker
except for `wire`."""
