"""The scripts that count in the store. Each is atomic there, so nodes cannot count past each other."""

from __future__ import annotations

from core.store.script import Script

# KEYS: the quota. ARGV: requests that were let through, requests that want to be, most in a period, seconds of a period
# (0: it never ends). A key without a time to live begins a new period (tyk-core 5.5). Of those that want to be let
# through as many are counted as there is room for. Returns the count, the milliseconds left, and how many these were.
QUOTA = Script(
    """
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
if not count or count % 1 ~= 0 then
  return redis.error_reply('ERR the quota is not an integer')
end
local left = redis.call('PTTL', KEYS[1])
local renewal = tonumber(ARGV[4]) * 1000
if left < 0 and renewal > 0 then
  count = 0
end
count = count + tonumber(ARGV[1])
local granted = math.max(0, math.min(tonumber(ARGV[2]), tonumber(ARGV[3]) - count))
count = count + granted
local text = string.format('%.0f', count)
if left < 0 and renewal > 0 then
  left = renewal
  redis.call('SET', KEYS[1], text, 'PX', string.format('%.0f', renewal))
elseif left < 0 then
  redis.call('SET', KEYS[1], text)
elseif tonumber(ARGV[1]) + granted > 0 then
  redis.call('SET', KEYS[1], text, 'KEEPTTL')
end
return {count, left, granted}
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
