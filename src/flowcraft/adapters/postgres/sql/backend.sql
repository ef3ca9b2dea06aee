-- backend: the process that serves us; behind a pooler not the one we were told of when we connected.
select pg_catalog.pg_backend_pid()
