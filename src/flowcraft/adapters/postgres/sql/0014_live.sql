-- 0014: what a message passes takes less: a commit with an event, and a read of what is new.
\ir functions_live.sql
\ir functions_plans.sql
