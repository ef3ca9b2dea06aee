-- unpin: set what the caller had before `pin`.
do $flowcraft_unpin$
declare
    caller jsonb := current_setting('flowcraft.caller')::jsonb;
begin
    perform set_config(name, caller ->> name, true)
    from unnest(array['row_security', 'quote_all_identifiers', 'lock_timeout', 'jit', 'plpgsql.extra_errors']) as name;
    perform set_config('search_path', caller ->> 'search_path', true);
end $flowcraft_unpin$;
