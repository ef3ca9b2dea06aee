-- notify: wake every reader; with $1 not empty, only the sender, to test whether it arrives.
select pg_catalog.pg_notify('flowcraft_wakeup', $1::pg_catalog.text)
