-- 0007: rights to channels end in commit order.
\ir functions_rights.sql
