-- relation: the relation that the quoted name $1 means; without a schema, the one that the caller of `pin` would find.
select case array_length(p.parts, 1)
    when 1 then (
        select c.oid
        from jsonb_array_elements_text(current_setting('flowcraft.caller')::jsonb -> 'schemas') with ordinality as s(name, place)
        join pg_namespace as n on n.nspname = s.name
        join pg_class as c on c.relnamespace = n.oid and c.relkind in ('r', 'p', 'v', 'm', 'f')
        where c.relname = p.parts[1] order by s.place limit 1
    )
    else to_regclass($1::text)::oid
end
from (select parse_ident($1::text) as parts) as p
