"""Payloads of calls. They are written into one buffer of the process, and copied out of it: nothing is kept."""

from accel.http1 cimport Exchange

cpdef bytes script_payload(Exchange x, bytes params, bytes session, bytes more, bytes body, bytes response, bint hostless)
