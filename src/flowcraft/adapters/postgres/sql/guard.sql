-- guard: refuse a schema flowcraft in which another role can run code with our rights. RT003 marks the refusal.
do $flowcraft_guard$
declare
    found text;
begin
    if to_regnamespace('flowcraft') is null then
        return;
    end if;
    -- An older snapshot would not show the objects that another role has committed since.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'the schema flowcraft is migrated at read committed, not at %; begin the transaction with that',
            current_setting('transaction_isolation') using errcode = 'RT003';
    end if;
    select string_agg(format(e'\n  %s, of role %s: %s;', s.object, s.owner, s.remedy), '' order by s.place, s.object)
    into found from (
\ir strangers.sql
    ) as s;
    if found is not null then
        raise exception 'role % does not migrate a schema flowcraft in which other roles may have left code; nothing was '
            'changed. An administrator runs this, or drops the schema if its events may go:%',
            quote_ident(current_user), found using errcode = 'RT003';
    end if;
end $flowcraft_guard$;
