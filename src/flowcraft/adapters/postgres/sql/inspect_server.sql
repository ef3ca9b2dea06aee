-- inspect_server: what of the log the database has, and what the present role may do with it.
select
    current_user::text as role,
    (select r.rolsuper from pg_roles as r where r.rolname = current_user) as superuser,
    pg_is_in_recovery() as standby,
    to_regnamespace('flowcraft') is not null as installed,
    coalesce(has_schema_privilege(to_regnamespace('flowcraft')::oid, 'usage'), false) as usable,
    coalesce((
        select has_table_privilege(c.oid, 'select') from pg_class as c
        where c.relnamespace = to_regnamespace('flowcraft') and c.relname = 'migration'
    ), false) as readable,
    array(
        select p.proname::text from pg_proc as p
        where p.pronamespace = to_regnamespace('flowcraft') and p.prorettype <> 'trigger'::regtype
            and has_function_privilege(p.oid, 'execute')
        order by 1
    ) as executable,
    array(
        select p.oid::regprocedure::text from pg_proc as p
        where p.pronamespace = to_regnamespace('flowcraft')
            and not exists (
                select from unnest(p.proconfig) as setting
                where replace(setting, ' ', '') = 'search_path=pg_catalog,pg_temp')
        order by 1
    ) as unpinned,
    -- Who may connect may LISTEN. Who may read the log may read more.
    array(
        select r.rolname::text from pg_roles as r
        where r.rolcanlogin and not r.rolsuper and r.rolname <> current_user and has_database_privilege(r.oid, current_database(), 'connect')
            and not coalesce(has_function_privilege(r.oid, (
                select p.oid from pg_proc as p where p.pronamespace = to_regnamespace('flowcraft') and p.proname = 'changes'), 'execute'), false)
        order by 1 limit 6
    ) as listeners
