-- compare_source: whether source $1 is the same, its function, and that function as it is. After `compare`.
select s.same, pg_temp.flowcraft_text(coalesce(s.function, $2::text)), coalesce(s.function, $2::text)
from pg_temp.flowcraft_same($1::text::jsonb) as s
