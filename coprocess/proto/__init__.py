"""The messages of plugins. `coprocess_*_pb2*.py` are made from the .proto files by setup.py and are not under version control.

The gateway's workers do not import them: coprocess.codec reads and writes the same bytes. They are for plugins in Python.
"""
