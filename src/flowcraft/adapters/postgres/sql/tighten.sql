-- tighten: execute the statements that `loose` lists.
do $flowcraft_tighten$
declare
    change text;
begin
    for change in
\ir loose.sql
    loop
        execute change;
    end loop;
end $flowcraft_tighten$;
