-- lookup_open: transactions with an id that have been open for $1 seconds, the oldest first, prepared ones too.
select coalesce(application_name, '') as who, pid, state, extract(epoch from now() - xact_start)::float8 as seconds
from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_xid is not null
    and xact_start < now() - make_interval(secs => $1)
union all
select format('prepared transaction %s', gid), null, 'prepared', extract(epoch from now() - prepared)::float8
from pg_prepared_xacts
where database = current_database() and prepared < now() - make_interval(secs => $1)
order by seconds desc
