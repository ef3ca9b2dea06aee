-- backend: the process that serves this session; behind a pooler not the one that the connection reported when it was made.
select pg_catalog.pg_backend_pid()
