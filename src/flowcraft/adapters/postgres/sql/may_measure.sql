-- may_measure: whether this role may have the log measured; null in a log from before 0013.
select pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('flowcraft.measured(pg_catalog.xid8[], pg_catalog.xid8[], pg_catalog.text[], pg_catalog.int8)'), 'execute')
