-- compare_others: the trigger functions of no source of $1, of these those that $3 names, with the prefixes $2. After `compare`.
select l.function, pg_temp.flowcraft_text(l.function) from pg_temp.flowcraft_leftovers($1::text::jsonb, $2::text[], $3) as l
