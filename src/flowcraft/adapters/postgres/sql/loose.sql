-- loose: statements that give our objects to the owner of the schema, and take from other roles every way to attach code.
--
-- Default privileges of a role grant such rights when a schema, a table or a function is made.
with schema as (
    select n.oid, n.nspowner as owner, n.nspacl as acl from pg_namespace as n where n.nspname = 'flowcraft'
), relation as (
    select c.* from pg_class as c join schema as s on c.relnamespace = s.oid where c.relkind in ('r', 'p', 'S')
), function as (
    select p.* from pg_proc as p join schema as s on p.pronamespace = s.oid
), granted(object, privilege, grantee, owner) as (
    select 'schema flowcraft', g.privilege_type, g.grantee, s.owner from schema as s cross join lateral aclexplode(s.acl) as g
    union
    select format('table %s', r.oid::regclass), g.privilege_type, g.grantee, r.relowner
    from relation as r cross join lateral aclexplode(r.relacl) as g
    union
    select format('table %s', r.oid::regclass), g.privilege_type, g.grantee, r.relowner
    from relation as r join pg_attribute as a on a.attrelid = r.oid cross join lateral aclexplode(a.attacl) as g
    union
    select format('function %s', f.oid::regprocedure), g.privilege_type, g.grantee, f.proowner
    from function as f cross join lateral aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) as g
    where f.prorettype = 'trigger'::regtype and obj_description(f.oid, 'pg_proc') like 'flowcraft:%'
        or obj_description(f.oid, 'pg_proc') like 'flowcraft-rows:%'
)
select format('revoke %s on %s from %s cascade', lower(g.privilege), g.object,
    case g.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(g.grantee)) end) as statement
from granted as g
where g.privilege in ('CREATE', 'TRIGGER', 'REFERENCES', 'EXECUTE') and g.grantee <> g.owner
    and g.grantee not in (select r.oid from pg_roles as r where r.rolsuper)
union all
-- The next to migrate may be another member of the role that owns the schema.
select format('alter %s %s owner to %I', case r.relkind when 'S' then 'sequence' else 'table' end, r.oid::regclass, o.rolname)
from relation as r cross join schema as s join pg_roles as o on o.oid = s.owner
where s.owner <> r.relowner and pg_get_userbyid(r.relowner) = current_user and o.rolname <> 'pg_database_owner'
    -- The sequence of an identity column goes with its table.
    and not (r.relkind = 'S' and exists (select from pg_depend as d
        where d.classid = 'pg_class'::regclass and d.objid = r.oid and d.deptype in ('a', 'i') and d.refclassid = d.classid))
union all
select format('alter function %s owner to %I', f.oid::regprocedure, o.rolname)
from function as f cross join schema as s join pg_roles as o on o.oid = s.owner
where s.owner <> f.proowner and pg_get_userbyid(f.proowner) = current_user and o.rolname <> 'pg_database_owner'
    and f.prokind = 'f'
order by 1
