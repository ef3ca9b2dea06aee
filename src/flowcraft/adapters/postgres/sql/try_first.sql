-- try_first: take the lock of the first reader, if no other reader has it. See core/first_reader.py.
select pg_catalog.pg_try_advisory_lock(:lock_class, :first_lock)
