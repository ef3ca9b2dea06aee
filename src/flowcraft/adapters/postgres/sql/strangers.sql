-- strangers: the objects that other roles have in the schema flowcraft, or can put there: each with its owner, and the SQL
-- that removes it.
--
-- Superusers are no strangers, nor are roles that the present one is a member of, if it was made one by a role that has its
-- rights anyway: any role may make another a member of a role that it administers, before PostgreSQL 15 also of itself.
with recursive present as (
    select r.oid, r.rolsuper from pg_roles as r where r.rolname = current_user
), superior(role) as (
    select r.oid from pg_roles as r where r.rolsuper
), granting(role) as (
    select role from superior
    union
    select oid from present
    union
    select r.oid from pg_roles as r cross join present as p
    where not p.rolsuper and case when current_setting('server_version_num')::integer < 160000 then r.rolcreaterole
        else r.oid in (select a.member from pg_auth_members as a where a.roleid = p.oid and a.admin_option) end
), held(role) as (
    select oid from present
    union
    -- From PostgreSQL 16 on, a role that has made another is its member by the admin option alone, without its rights.
    select m.roleid from held as h join pg_auth_members as m on m.member = h.role
    where m.grantor in (select role from granting) and (
        coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true) or coalesce((to_jsonb(m) ->> 'set_option')::boolean, true))
), trusted(role) as (
    select role from held union select role from superior
    union
    select r.oid from pg_roles as r, pg_database as d
    where r.rolname = 'pg_database_owner' and d.datname = current_database()
        and d.datdba in (select role from held union select role from superior)
), schema as (
    select n.oid, n.nspowner as owner, n.nspacl as acl from pg_namespace as n where n.nspname = 'flowcraft'
), strange(classid, objid, owner) as (
    select o.classid, o.objid, o.refobjid from pg_shdepend as o
    where o.deptype = 'o' and o.objsubid = 0 and o.dbid = (select d.oid from pg_database as d where d.datname = current_database())
        and o.refclassid = 'pg_authid'::regclass and o.refobjid not in (select role from trusted)
), inside(classid, objid) as (
    select d.classid, d.objid from pg_depend as d join schema as s on d.refobjid = s.oid
    where d.refclassid = 'pg_namespace'::regclass and d.classid <> 'pg_default_acl'::regclass
), relation(id) as (
    select c.oid from pg_class as c join schema as s on c.relnamespace = s.oid where c.relkind in ('r', 'p', 'v', 'm', 'f')
    union
    select i.inhrelid from relation as r join pg_inherits as i on i.inhparent = r.id
), known(name, arguments) as (
    values ('broadcast', 'text, json'), ('broadcast_ephemeral', 'text, json'), ('check_channel', 'text'), ('wake', ''), ('may_notify', ''), ('applied', ''),
        ('mark', 'xid8'), ('check_floor', 'xid8'), ('reached', ''), ('gaps', 'xid8[], xid8[]'), ('proofs', 'xid8[]'),
        ('changes', 'xid8[], xid8[], text[], bigint'), ('measured', 'xid8[], xid8[], text[], bigint'),
        ('shown', 'xid8'), ('floor', ''), ('position', ''), ('difference', 'xid8, xid8[], text[], bigint'), ('cursor', ''),
        ('renew', 'integer'), ('raise_floor', 'xid8'), ('trim', 'xid8'), ('purge', 'text, boolean'), ('purges', ''),
        ('rotate', 'interval, timestamp with time zone'), ('settle', 'smallint, timestamp with time zone'),
        ('open_next', 'smallint, interval, timestamp with time zone'), ('empty_oldest', 'interval, timestamp with time zone'),
        ('table_of', 'smallint'), ('newest_of', 'smallint'), ('withdraw', 'text, text, boolean'), ('revoke', 'text, text'),
        ('ask_again', 'text, text'), ('ephemeral_check', 'text'), ('ephemeral_key', ''),
        ('rows', 'text, text, bigint, bigint'), ('beat', 'text'), ('attend', 'text, boolean, text[], text[], text[]'),
        ('attend', 'text, boolean, text[], text[], text[], bigint'), ('publish_members', 'text[], text[], "char"[], bigint[], bigint'),
        ('forget', 'text[], bigint[]'), ('members', 'text, bigint, bigint')
), part(classid, objid, remedy) as (
    select 'pg_attrdef'::regclass, d.oid, format('alter table %s alter column %I drop %s', d.adrelid::regclass, a.attname,
        case when a.attgenerated = '' then 'default' else 'expression' end)
    from pg_attrdef as d join pg_attribute as a on a.attrelid = d.adrelid and a.attnum = d.adnum
    where d.adrelid in (select id from relation) and not exists (
        -- A default of the partitioned table is dropped with that of the table.
        select from pg_inherits as i join pg_attribute as o on o.attrelid = i.inhparent and o.attname = a.attname
        join pg_attrdef as e on e.adrelid = o.attrelid and e.adnum = o.attnum
        where i.inhrelid = d.adrelid and pg_get_expr(e.adbin, e.adrelid) = pg_get_expr(d.adbin, d.adrelid)
    )
    union all
    select 'pg_constraint'::regclass, k.oid, format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname)
    from pg_constraint as k where k.conrelid in (select id from relation) and k.coninhcount = 0
    union all
    select 'pg_class'::regclass, i.indexrelid, format('drop index %s', i.indexrelid::regclass)
    from pg_index as i where i.indrelid in (select id from relation)
    union all
    select 'pg_statistic_ext'::regclass, e.oid, format('drop statistics %s', i.identity)
    from pg_statistic_ext as e cross join lateral pg_identify_object('pg_statistic_ext'::regclass, e.oid, 0) as i
    where e.stxrelid in (select id from relation)
    union all
    select 'pg_class'::regclass, r.id, null from relation as r
    union all
    select i.classid, i.objid, format('drop %s %s', o.type, o.identity)
    from inside as i cross join lateral pg_identify_object(i.classid, i.objid, 0) as o
    where i.classid <> 'pg_class'::regclass
)
select 1 as place, 'schema flowcraft' as object, pg_get_userbyid(s.owner) as owner,
    format('alter schema flowcraft owner to %I', current_user) as remedy
from schema as s where s.owner not in (select role from trusted)
union all
select 2, 'the right to create in schema flowcraft', case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end,
    format('revoke create on schema flowcraft from %s cascade',
        case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end)
from schema as s cross join lateral aclexplode(s.acl) as g
where g.privilege_type = 'CREATE' and g.grantee <> s.owner and g.grantee not in (select role from superior)
union all
-- A table may change its owner; code that another role could change is dropped.
select 3, format('%s %s', i.type, i.identity), pg_get_userbyid(o.owner),
    case when p.oid is not null then 'drop schema flowcraft cascade'
        when i.type in ('table', 'sequence') then format('alter %s %s owner to %I', i.type, i.identity, current_user)
        else format('drop %s %s cascade', case i.type when 'composite type' then 'type' when 'statistics object' then 'statistics' else i.type end,
            i.identity)
    end
from inside as n join strange as o on o.classid = n.classid and o.objid = n.objid
cross join lateral pg_identify_object(n.classid, n.objid, 0) as i
-- A function of the log that another role has replaced is only made again with the whole log.
left join pg_proc as p on n.classid = 'pg_proc'::regclass and p.oid = n.objid
    and (p.proname, oidvectortypes(p.proargtypes)) in (select name, arguments from known)
union all
select 4, format('function %s', p.oid::regprocedure), pg_get_userbyid(p.proowner), format('drop function %s', p.oid::regprocedure)
from pg_proc as p join schema as s on p.pronamespace = s.oid
where p.proname in (select name from known)
    and (p.proname, oidvectortypes(p.proargtypes)) not in (select name, arguments from known)
    and not exists (select from strange as o where o.classid = 'pg_proc'::regclass and o.objid = p.oid)
union all
select 5, format('trigger %I on %s, which calls %s', t.tgname, t.tgrelid::regclass, p.oid::regprocedure), pg_get_userbyid(p.proowner),
    format('drop trigger %I on %s', t.tgname, t.tgrelid::regclass)
from pg_trigger as t join pg_proc as p on p.oid = t.tgfoid
where t.tgrelid in (select id from relation) and not t.tgisinternal and t.tgparentid = 0
union all
select 5, format('rule %I on %s', w.rulename, c.oid::regclass), pg_get_userbyid(c.relowner),
    format('drop rule %I on %s', w.rulename, c.oid::regclass)
from pg_rewrite as w join pg_class as c on c.oid = w.ev_class
where w.ev_class in (select id from relation) and w.rulename <> '_RETURN'
union all
select 5, format('policy %I on %s', y.polname, c.oid::regclass), pg_get_userbyid(c.relowner),
    format('drop policy %I on %s', y.polname, c.oid::regclass)
from pg_policy as y join pg_class as c on c.oid = y.polrelid where y.polrelid in (select id from relation)
union all
select 5, format('table %s, which inherits from %s', c.oid::regclass, i.inhparent::regclass), pg_get_userbyid(c.relowner),
    format(case when c.relispartition then 'alter table %2$s detach partition %1$s' else 'alter table %1$s no inherit %2$s' end,
        c.oid::regclass, i.inhparent::regclass)
from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
where i.inhrelid in (select id from relation) and c.relnamespace not in (select oid from schema)
union all
select 5, format('constraint %I on %s', k.conname, k.conrelid::regclass), pg_get_userbyid(c.relowner),
    format('alter table %s drop constraint %I', k.conrelid::regclass, k.conname)
from pg_constraint as k join pg_class as c on c.oid = k.conrelid
where k.contype = 'f' and k.conparentid = 0
    and (k.conrelid in (select id from relation)) <> (k.confrelid in (select id from relation))
union all
-- Defaults, checks, indexes, columns and functions that need a function or a type of another role.
select 6, format('%s, which needs %s', pg_describe_object(d.classid, d.objid, d.objsubid), pg_describe_object(d.refclassid, d.refobjid, 0)),
    pg_get_userbyid(o.owner), coalesce(p.remedy, format('alter table %s drop column %I', p.objid::regclass, a.attname),
        format('drop table %s', p.objid::regclass))
from part as p
join pg_depend as d on d.classid = p.classid and d.objid = p.objid
join strange as o on o.classid = d.refclassid and o.objid = d.refobjid
left join pg_attribute as a on d.classid = 'pg_class'::regclass and a.attrelid = d.objid and a.attnum = d.objsubid and d.objsubid > 0
where d.refclassid not in ('pg_class'::regclass, 'pg_namespace'::regclass) and coalesce(a.attinhcount, 0) = 0
    and not exists (select from inside as n where n.classid = d.refclassid and n.objid = d.refobjid)
