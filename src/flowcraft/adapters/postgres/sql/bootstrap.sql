-- bootstrap: the schema, and the list of what has been done to it.
do $$
begin
    if to_regnamespace('flowcraft') is null then
        create schema flowcraft;
    end if;
    if to_regclass('flowcraft.migration') is null then
        create table flowcraft.migration (
            version integer primary key,
            name text not null,
            applied_at timestamptz not null default now()
        );
    end if;
    -- A trigger waits for the transactions that use its table, and whoever comes later waits behind it: not for long.
    if current_setting('lock_timeout') = '0' then
        perform set_config('lock_timeout', '5s', true);
    end if;
end $$;
