-- examine: how the server stands, as far as it concerns us.
select
    current_setting('server_version') as version,
    pg_is_in_recovery() as standby,
    to_regprocedure('flowcraft.broadcast(text,json)') is not null as installed,
    pg_notification_queue_usage() as queue,
    current_setting('track_commit_timestamp')::boolean as commit_times,
    exists (
        select from pg_locks
        where locktype = 'advisory' and classid = 1718382455 and objid = 1 and objsubid = 2 and granted
            and mode = 'ExclusiveLock' and database = (select oid from pg_database where datname = current_database())
    ) as awake,
    (
        select count(*) from pg_locks
        where locktype = 'advisory' and classid = 1718382455 and objid = 2 and objsubid = 2 and granted
            and database = (select oid from pg_database where datname = current_database())
    ) as readers
