-- notify: ring every reader; with $1 not empty, only to see it come back.
select pg_catalog.pg_notify('flowcraft_wakeup', $1::pg_catalog.text)
