-- notify: wake the other readers; with $1 not empty, only the sender, to test whether it arrives.
select pg_catalog.pg_notify('flowcraft_readers', $1::pg_catalog.text)
