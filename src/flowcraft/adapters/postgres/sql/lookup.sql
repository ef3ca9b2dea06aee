-- lookup: the state of the server, as far as it concerns the log.
select
    current_setting('server_version') as version,
    pg_is_in_recovery() as standby,
    to_regprocedure('flowcraft.position()') is not null as installed,
    coalesce((
        select has_table_privilege(c.oid, 'select') from pg_class as c
        where c.relnamespace = to_regnamespace('flowcraft') and c.relname = 'migration'
    ), false) as readable,
    pg_notification_queue_usage() as queue,
    current_setting('track_commit_timestamp')::boolean as commit_times,
    exists (
        select from pg_locks
        where locktype = 'advisory' and classid = :lock_class and objid = :leader_lock and objsubid = 2 and granted
            and mode = 'ExclusiveLock' and database = (select oid from pg_database where datname = current_database())
    ) as awake,
    (
        select count(*) from pg_locks
        where locktype = 'advisory' and classid = :lock_class and objid = :readers_lock and objsubid = 2 and granted
            and database = (select oid from pg_database where datname = current_database())
    ) as readers
