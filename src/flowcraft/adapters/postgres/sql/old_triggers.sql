-- old_triggers: let trigger functions that a development version made call the wakeup by its present name.
--
-- `install` writes them again where their source is declared; those of another service would fail every write until then.
do $flowcraft_old_triggers$
declare
    definition text;
begin
    for definition in
        select pg_get_functiondef(p.oid) from pg_proc as p
        where p.pronamespace = 'flowcraft'::regnamespace and p.prorettype = 'trigger'::regtype
            and obj_description(p.oid, 'pg_proc') like 'flowcraft:%' and p.prosrc like '%perform flowcraft.ring();%'
    loop
        execute replace(definition, 'perform flowcraft.ring();', 'perform flowcraft.wake();');
    end loop;
end $flowcraft_old_triggers$;
