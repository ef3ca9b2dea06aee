-- try_lock: take the leader lock, if no other reader has it. See core/wakeup.py.
select pg_catalog.pg_try_advisory_lock(:lock_class, :leader_lock)
