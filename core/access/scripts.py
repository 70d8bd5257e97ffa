"""The scripts that count in the store. Each is atomic there, so nodes cannot count past each other."""

from __future__ import annotations

from core.store.script import Script

# KEYS: the quota. ARGV: requests to add, seconds of a period (0 and below: it never ends).
# A key without a time to live begins a new period (tyk-core 5.5). Returns the count and the milliseconds left.
QUOTA = Script(
    """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
local left = redis.call('PTTL', KEYS[1])
local renewal = tonumber(ARGV[2])
if left < 0 and renewal > 0 then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', renewal * 1000)
  return {tonumber(ARGV[1]), renewal * 1000}
end
return {count, left}
"""
)

# KEYS: the log of a window. ARGV: now in nanoseconds, length of the window in nanoseconds, the same in whole seconds,
# most entries that are kept, the requests from which on this one is not logged (below 0: it always is). Returns the
# requests that were in the window before this one.
# Tyk logs blocked requests too, so a client that hammers stays blocked (tyk-core 5.6); the log is cut at its newest
# entries, which decides nothing and bounds it. One that waits for a place has been logged when it came.
ROLLING = Script(
    """
local from = string.format('%.0f', tonumber(ARGV[1]) - tonumber(ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', from)
local count = redis.call('ZCARD', KEYS[1])
local most = tonumber(ARGV[5])
if most < 0 or count < most then
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[1])
  if count >= tonumber(ARGV[4]) then
    redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -tonumber(ARGV[4]) - 1)
  end
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
return count
"""
)

# KEYS: the counter of one aligned window. ARGV: milliseconds it lives. Returns the requests with this one.
FIXED = Script(
    """
local count = redis.call('INCR', KEYS[1])
if count == 1 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return count
"""
)
