-- bootstrap: the schema, and the list of the migrations that were applied to it.
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
    if not exists (
        select from pg_attribute as a
        where a.attrelid = 'flowcraft.migration'::regclass and a.attname = 'hash' and not a.attisdropped
    ) then
        alter table flowcraft.migration add column hash text;
        comment on column flowcraft.migration.hash is
            'SHA-256 of the SQL that was applied, in hexadecimal. Null: applied by a development version that stored none.';
    end if;
    -- A new trigger waits for the transactions that use its table, and later transactions wait behind it: for at most 5 s.
    if current_setting('lock_timeout') = '0' then
        perform set_config('lock_timeout', '5s', true);
    end if;
end $$;
