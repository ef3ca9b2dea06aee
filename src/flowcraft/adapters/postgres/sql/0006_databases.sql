-- 0006: what the log needs on databases as people have them: transactions that are prepared, copies, hostile defaults.
\ir functions_wakeup.sql
