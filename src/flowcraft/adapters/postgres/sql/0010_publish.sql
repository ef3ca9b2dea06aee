-- 0010: what a writer calls for each event takes half of the time.
\ir functions_publish.sql
