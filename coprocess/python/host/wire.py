"""Frames between a worker and a host: kind (1 byte), call id (8 bytes), length (4 bytes), big endian, then the payload.

Worker to host they go through the process's standard input, back through its standard output; the host program moves both to
other descriptors before it runs any plugin. Besides, both sides map one small file, the page: slot i (8 bytes, native order)
holds the id of the call that thread i of the host has begun last. Ids grow and calls begin in their order, so after a crash
the worker knows which calls had begun: those up to the highest id of the page.
"""

from __future__ import annotations

import struct

HEADER = struct.Struct("!BQI")
SLOT = struct.Struct("@Q")
MOST_THREADS = 64
PAGE_BYTES = MOST_THREADS * SLOT.size

# Worker to host.
SETUP = 1  # JSON object, see host/serve.py
CALL = 2  # a coprocess.Object
EVENT = 3  # JSON text of an event
ANSWER = 4  # the id of a question; 1 byte (1: done, 0: refused), then the value or the reason

# Host to worker.
READY = 16  # JSON object {"python", "protobuf", "hooks", "events"}
FAILED = 17  # text: why the bundle cannot run
RESULT = 18  # id of the call: the coprocess.Object, empty for an event
ERROR = 19  # id of the call: text
TOO_LARGE = 20  # id of the call: text
LOG = 21  # level, newline, text
STORE = 22  # id of the question: ttl (4 bytes, seconds), length of the key (4 bytes), key, value
GET = 23  # id of the question: key
TRIGGER = 24  # length of the name (4 bytes), name, payload

STORE_HEAD = struct.Struct("!iI")
TRIGGER_HEAD = struct.Struct("!I")
