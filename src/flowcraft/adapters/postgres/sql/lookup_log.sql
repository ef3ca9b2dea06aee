-- lookup_log: where the log begins, about how many events are in it, and its size.
select
    (select floor::text::bigint from flowcraft.position()) as floor,
    (select sum(greatest(reltuples, 0))::bigint from pg_class
        where oid in (select inhrelid from pg_inherits where inhparent = 'flowcraft.event'::regclass)) as events,
    (select sum(pg_total_relation_size(inhrelid))::bigint from pg_inherits
        where inhparent = 'flowcraft.event'::regclass) as bytes
