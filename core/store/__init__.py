"""The store of keys, counters, records and notifications: Redis or Valkey, spoken to through hiredis."""
