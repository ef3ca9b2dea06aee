-- compare: functions of this session that find what differs from the declared sources. After `install`.

-- flowcraft_same: whether the triggers of a source are there and do what is declared; null if its table is not there.
create or replace function pg_temp.flowcraft_same(source jsonb, out same boolean, out function text) language plpgsql stable as $$
declare
    relation regclass;
begin
    relation := pg_temp.flowcraft_table(source);
    function := pg_temp.flowcraft_function(source, relation);
    same := exists (
        select from pg_proc as p
        where p.pronamespace = to_regnamespace('flowcraft') and p.proname = function
            and pg_temp.flowcraft_is(p.oid, source, relation) and pg_temp.flowcraft_has_state(source, relation, function)
            and array(select format('%s %s', t.place, t.name) from pg_temp.flowcraft_triggers(source, relation, function) as t order by 1)
                = array(select format('%s %s', t.place, t.name) from pg_temp.flowcraft_present(function) as t where t.fits order by 1)
    );
exception when sqlstate 'RT001' then
    same := false;
end $$;

-- flowcraft_text: the SQL that makes a trigger function as it is now, with its triggers; null if it is not there.
create or replace function pg_temp.flowcraft_text(function text) returns text language sql stable as $$
    select rtrim(pg_get_functiondef(p.oid), e'\n') || format(
            e';\nrevoke all on function flowcraft.%1$I() from public;\ncomment on function flowcraft.%1$I() is %2$L;',
            p.proname, obj_description(p.oid, 'pg_proc'))
        || coalesce((
            select string_agg(e'\n' || pg_get_triggerdef(t.oid) || ';' || case when t.tgenabled in ('A', 'R') then
                format(' alter table %s enable %s trigger %I;', t.tgrelid::regclass,
                    case t.tgenabled when 'A' then 'always' else 'replica' end, t.tgname) else '' end,
                '' order by t.tgrelid::regclass::text, t.tgname)
            from pg_trigger as t where t.tgfoid = p.oid and t.tgparentid = 0), '')
        || coalesce((
            select e'\n' || rtrim(pg_get_functiondef(s.oid), e'\n') || format(
                e';\nrevoke all on function flowcraft.%1$I(text, bigint, bigint) from public;\n'
                'comment on function flowcraft.%1$I(text, bigint, bigint) is %2$L;\n'
                -- As `install_state` does: the pages read the rows again.
                'insert into flowcraft.event (kind, channel, payload) values (''r'', %3$L, ''{"reason":"redeclared"}''); select flowcraft.wake();',
                s.proname, obj_description(s.oid, 'pg_proc'),
                (select split_part(encode(t.tgargs, 'escape'), e'\\000', 1) from pg_trigger as t where t.tgfoid = p.oid limit 1))
            from pg_proc as s where s.pronamespace = p.pronamespace and s.proname = pg_temp.flowcraft_state_name(p.proname)), '')
    from pg_proc as p
    where p.pronamespace = to_regnamespace('flowcraft') and p.proname = function
$$;
