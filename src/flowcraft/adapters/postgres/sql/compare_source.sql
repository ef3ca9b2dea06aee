-- compare_source: whether source $1 with the function $2 is the same, and that function as it is. After `compare`.
select pg_temp.flowcraft_same($1::text::jsonb, $2::text), pg_temp.flowcraft_text($2::text)
