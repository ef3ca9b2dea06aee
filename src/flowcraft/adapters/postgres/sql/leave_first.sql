-- leave_first: release the lock of the first reader, and notify the others, one of which takes it.
select pg_catalog.pg_advisory_unlock(:lock_class, :first_lock), pg_catalog.pg_notify('flowcraft_readers', '')
