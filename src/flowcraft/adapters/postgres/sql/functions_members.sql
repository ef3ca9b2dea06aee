-- functions_members: those of functions_presence that write and read members, with a count in the place of a long list. Each is replaced in
-- place, and keeps its grants.

-- publish_members: write into the log what has changed, and return how many records that were. A channel with more than `listed` members
-- has their number only, at most once in a second, until there are a fifth less; between list and number its subscribers have a reset.
-- The caller has the turn.
create or replace function flowcraft.publish_members(channels text[], payloads text[], kinds "char"[], changes bigint[], listed bigint)
returns bigint language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    counted text[];
    begun text[];
    ended text[];
    written bigint;
begin
    select coalesce(array_agg(n.channel), '{}') into counted from flowcraft.member_count as n
    where n.channel = any (publish_members.channels);
    with moved as (
        select c.channel, sum(c.change) as change from unnest(publish_members.channels, publish_members.changes) as c(channel, change)
        group by c.channel
    ), long as materialized (
        select m.channel from moved as m
        where m.change > 0 and m.channel <> all (counted) and publish_members.listed < (
            select count(*) from (select from flowcraft.member as x where x.channel = m.channel group by x.key
                limit publish_members.listed + 1) as first)
    ), put as (
        insert into flowcraft.member_count (channel, listed, members, sent, sent_at)
        select l.channel, publish_members.listed, n.members, n.members, clock_timestamp() from long as l
        cross join lateral (select count(distinct x.key) as members from flowcraft.member as x where x.channel = l.channel) as n
        returning channel
    )
    select coalesce(array_agg(p.channel), '{}') into begun from put as p;
    if cardinality(counted) > 0 then
        update flowcraft.member_count as n set members = n.members + m.change
        from (
            select c.channel, sum(c.change) as change from unnest(publish_members.channels, publish_members.changes) as c(channel, change)
            group by c.channel
        ) as m where m.channel = n.channel and m.change <> 0;
    end if;
    with removed as (
        delete from flowcraft.member_count as n where n.channel = any (counted) and n.members * 5 <= n.listed * 4 returning n.channel
    )
    select coalesce(array_agg(r.channel), '{}') into ended from removed as r;
    with due as (
        -- Less than the second after which a node asks for what is due. A clock that was set back delays nothing.
        update flowcraft.member_count as n set sent = n.members, sent_at = clock_timestamp()
        where n.members <> n.sent and abs(extract(epoch from clock_timestamp() - n.sent_at)) > 0.9
        returning n.channel, n.members
    )
    insert into flowcraft.event (channel, payload, kind)
    select c.channel, c.payload, c.kind from unnest(publish_members.channels, publish_members.payloads, publish_members.kinds)
        as c(channel, payload, kind) where c.channel <> all (counted || begun)
    union all
    select r.channel, '{"reason":"redeclared"}', 'r' from unnest(begun || ended) as r(channel)
    union all
    select d.channel, format('{"count":%s}', d.members), 'n' from due as d;
    get diagnostics written = row_count;
    if written > 0 then
        perform flowcraft.wake();
    end if;
    return written;
end $$;

-- attend: write the members that a node has now, `infos` as their JSON; null: the member has left this node. With `whole` these are all
-- that the node has. Subscribers receive what has changed for them. Without members, counts that are due are sent. False: the node was
-- removed, and nothing is written.
create or replace function flowcraft.attend(own text, whole boolean, channels text[], keys text[], infos text[], listed bigint default 500)
returns boolean language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    changed_channels text[];
    payloads text[];
    kinds "char"[];
    changes bigint[];
begin
    if cardinality(attend.channels) = 0 and not attend.whole
        and not exists (select from flowcraft.member_count as n where n.members <> n.sent)
    then
        return exists (select from flowcraft.node as n where n.node = attend.own);
    end if;
    lock table flowcraft.member_turn in exclusive mode;
    if not exists (select from flowcraft.node as n where n.node = attend.own) then
        return false;
    end if;
    with given as materialized (
        select g.channel, g.key, g.info from unnest(attend.channels, attend.keys, attend.infos) as g(channel, key, info)
        union all
        select m.channel, m.key, null from flowcraft.member as m
        where attend.whole and m.node = attend.own and not exists (
            select from unnest(attend.channels, attend.keys) as g(channel, key) where g.channel = m.channel and g.key = m.key)
    ), stored as materialized (
        select g.channel, g.key, g.info,
            (select m.info from flowcraft.member as m where m.channel = g.channel and m.key = g.key
                order by m.number desc limit 1) as before,
            (select m.info from flowcraft.member as m where m.channel = g.channel and m.key = g.key and m.node = attend.own) as mine,
            (select m.info from flowcraft.member as m where m.channel = g.channel and m.key = g.key and m.node <> attend.own
                order by m.number desc limit 1) as other
        from given as g
    ), removed as (
        delete from flowcraft.member as m using stored as s
        where s.info is null and m.channel = s.channel and m.key = s.key and m.node = attend.own
    ), put as (
        insert into flowcraft.member as m (channel, key, node, info)
        select s.channel, s.key, attend.own, s.info from stored as s where s.info is distinct from s.mine and s.info is not null
        on conflict (channel, key, node) do update set info = excluded.info, number = excluded.number
    ), changed as (
        select s.channel, s.key, s.before,
            case when s.info is null then s.other when s.info = s.mine then s.before else s.info end as after
        from stored as s
    )
    select array_agg(c.channel), array_agg(coalesce(c.after, '{"id":' || c.key || '}')),
        array_agg(case when c.after is null then 'g' else 'e' end::"char"),
        array_agg((c.after is not null)::integer::bigint - (c.before is not null)::integer)
    into changed_channels, payloads, kinds, changes
    from changed as c where c.before is distinct from c.after;
    perform flowcraft.publish_members(coalesce(changed_channels, '{}'), payloads, kinds, changes, attend.listed);
    return true;
end $$;

-- forget: remove nodes that have ended, with their members; but not those whose beat is another one by now.
create or replace function flowcraft.forget(nodes text[], beats bigint[]) returns text[]
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    ended text[];
    channels text[];
    payloads text[];
    kinds "char"[];
    changes bigint[];
begin
    lock table flowcraft.member_turn in exclusive mode;
    with removed as (
        delete from flowcraft.node as n using unnest(forget.nodes, forget.beats) as g(node, beat)
        where n.node = g.node and n.beat = g.beat returning n.node
    )
    select coalesce(array_agg(r.node::text order by r.node), '{}') into ended from removed as r;
    with mine as materialized (
        select distinct m.channel, m.key from flowcraft.member as m where m.node = any (ended)
    ), changed as materialized (
        select o.channel, o.key,
            (select m.info from flowcraft.member as m where m.channel = o.channel and m.key = o.key
                order by m.number desc limit 1) as before,
            (select m.info from flowcraft.member as m where m.channel = o.channel and m.key = o.key and m.node <> all (ended)
                order by m.number desc limit 1) as after
        from mine as o
    ), removed as (
        delete from flowcraft.member as m where m.node = any (ended)
    )
    select array_agg(c.channel), array_agg(coalesce(c.after, '{"id":' || c.key || '}')),
        array_agg(case when c.after is null then 'g' else 'e' end::"char"), array_agg((c.after is not null)::integer::bigint - 1)
    into channels, payloads, kinds, changes
    from changed as c where c.before is distinct from c.after;
    -- A channel does not become longer: `listed` does not count.
    perform flowcraft.publish_members(coalesce(channels, '{}'), payloads, kinds, changes, 0);
    return ended;
end $$;

-- members: those of a channel, and the cursor of their snapshot, in the form of flowcraft.rows; `count` where they are counted and not listed.
create or replace function flowcraft.members(of text, most bigint, most_bytes bigint) returns table (kind "char", content text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off as $$
begin
    return query
        with counted as materialized (
            select n.members from flowcraft.member_count as n where n.channel = members.of
        ), found as materialized (
            select distinct on (m.key) m.info from flowcraft.member as m
            where m.channel = members.of and not exists (select from counted)
            order by m.key, m.number desc limit members.most + 1
        ), measured as materialized (
            select count(*) as n, coalesce(sum(octet_length(f.info)), 0)::bigint as size from found as f
        )
        select 'c'::"char", json_build_object('cursor', flowcraft.cursor(), 'rows', m.n, 'bytes', m.size,
            'count', coalesce((select c.members from counted as c), 0))::text from measured as m
        union all
        select 'e'::"char", f.info from found as f, measured as m where m.n <= members.most and m.size <= members.most_bytes;
end $$;

revoke all on function flowcraft.attend(text, boolean, text[], text[], text[], bigint),
    flowcraft.publish_members(text[], text[], "char"[], bigint[], bigint) from public;
do $flowcraft_grants$
declare
    granted record;
begin
    for granted in
        select g.grantee::regrole as role from pg_proc as p cross join lateral aclexplode(p.proacl) as g
        where p.oid = 'flowcraft.changes(xid8[], xid8[], text[], bigint)'::regprocedure and g.grantee <> 0
            and g.grantee <> p.proowner and g.privilege_type = 'EXECUTE'
    loop
        execute format('grant execute on function flowcraft.attend(text, boolean, text[], text[], text[], bigint) to %s', granted.role);
    end loop;
end $flowcraft_grants$;
