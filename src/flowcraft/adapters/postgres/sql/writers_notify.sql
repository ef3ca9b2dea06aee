-- writers_notify: whether every writer may NOTIFY; see flowcraft.may_notify.
select pg_catalog.current_setting('max_prepared_transactions') operator(pg_catalog.=) '0'
