-- functions_presence: who is present on which channel. Each is replaced in place, and keeps its grants.
--
-- Changes of members take turns: two at a time would each see the other's row as it was, and a member that one node adds
-- while another removes it would be gone for the subscribers.

-- beat: note that a node lives, and return the beats of all nodes. A node whose own beat is 1 is new: it, and what it had written,
-- was not there.
create or replace function flowcraft.beat(own text) returns table (name text, count bigint)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- A beat that a crash loses changes nothing: what a node writes about its members waits for the disk.
    perform set_config('synchronous_commit', 'off', true);
    insert into flowcraft.node as n (node, beat) values (beat.own, 1) on conflict (node) do update set beat = n.beat + 1;
    return query select n.node::text, n.beat from flowcraft.node as n;
end $$;

-- attend: write the members that a node has now, `infos` as their JSON; null: the member has left this node. With `whole` these are all
-- that the node has. Subscribers receive what has changed for them. False: the node was removed, and nothing is written.
create or replace function flowcraft.attend(own text, whole boolean, channels text[], keys text[], infos text[]) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    written bigint;
begin
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
    insert into flowcraft.event (channel, payload, kind)
    select c.channel, coalesce(c.after, '{"id":' || c.key || '}'), case when c.after is null then 'g' else 'e' end
    from changed as c where c.before is distinct from c.after;
    get diagnostics written = row_count;
    if written > 0 then
        perform flowcraft.wake();
    end if;
    return true;
end $$;

-- forget: remove nodes that have ended, with their members; but not those whose beat is another one by now.
create or replace function flowcraft.forget(nodes text[], beats bigint[]) returns text[]
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    ended text[];
    written bigint;
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
    insert into flowcraft.event (channel, payload, kind)
    select c.channel, coalesce(c.after, '{"id":' || c.key || '}'), case when c.after is null then 'g' else 'e' end
    from changed as c where c.before is distinct from c.after;
    get diagnostics written = row_count;
    if written > 0 then
        perform flowcraft.wake();
    end if;
    return ended;
end $$;

-- members: those of a channel, and the cursor of their snapshot, in the form of flowcraft.rows.
create or replace function flowcraft.members(of text, most bigint, most_bytes bigint) returns table (kind "char", content text)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set jit = off as $$
begin
    return query
        with found as materialized (
            select distinct on (m.key) m.info from flowcraft.member as m where m.channel = members.of
            order by m.key, m.number desc limit members.most + 1
        ), measured as materialized (
            select count(*) as n, coalesce(sum(octet_length(f.info)), 0)::bigint as size from found as f
        )
        select 'c'::"char", json_build_object('cursor', flowcraft.cursor(), 'rows', m.n, 'bytes', m.size)::text from measured as m
        union all
        select 'e'::"char", f.info from found as f, measured as m where m.n <= members.most and m.size <= members.most_bytes;
end $$;

revoke all on function flowcraft.beat(text), flowcraft.attend(text, boolean, text[], text[], text[]),
    flowcraft.forget(text[], bigint[]), flowcraft.members(text, bigint, bigint) from public;
-- Who may read the log may keep its members: a server of the roles of before needs no other grant.
do $flowcraft_grants$
declare
    granted record;
begin
    for granted in
        select g.grantee::regrole as role from pg_proc as p cross join lateral aclexplode(p.proacl) as g
        where p.oid = 'flowcraft.changes(xid8[], xid8[], text[], bigint)'::regprocedure and g.grantee <> 0
            and g.grantee <> p.proowner and g.privilege_type = 'EXECUTE'
    loop
        execute format('grant execute on function flowcraft.beat(text), flowcraft.attend(text, boolean, text[], text[], text[]), '
            'flowcraft.forget(text[], bigint[]), flowcraft.members(text, bigint, bigint) to %s', granted.role);
    end loop;
end $flowcraft_grants$;
