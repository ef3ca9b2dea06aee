-- try_lock: take the doorbell's lock, if nobody else has it. See core/doorbell.py.
select pg_catalog.pg_try_advisory_lock(1718382455, 1)
