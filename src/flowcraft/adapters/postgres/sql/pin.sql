-- pin: from here to `unpin`, names and operators mean those of pg_catalog, whatever the session and its database set.
--
-- The caller's settings are kept until then: an unqualified table is looked for where the caller would find it.
do $flowcraft_pin$
begin
    perform pg_catalog.set_config('flowcraft.caller', pg_catalog.jsonb_build_object(
        'search_path', pg_catalog.current_setting('search_path'),
        'row_security', pg_catalog.current_setting('row_security'),
        'quote_all_identifiers', pg_catalog.current_setting('quote_all_identifiers'),
        'lock_timeout', pg_catalog.current_setting('lock_timeout'),
        'jit', pg_catalog.current_setting('jit'),
        'plpgsql.extra_errors', pg_catalog.current_setting('plpgsql.extra_errors'),
        'schemas', pg_catalog.to_jsonb(pg_catalog.current_schemas(false))
    )::pg_catalog.text, true);
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    perform pg_catalog.set_config('row_security', 'on', true);
    -- To compile a query of ours takes longer than to execute it.
    perform pg_catalog.set_config('jit', 'off', true);
    perform pg_catalog.set_config('quote_all_identifiers', 'off', true);
    perform pg_catalog.set_config('plpgsql.extra_errors', 'none', true);
end $flowcraft_pin$;
