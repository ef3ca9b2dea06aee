-- unlock: let go of the doorbell's lock.
select pg_catalog.pg_advisory_unlock(1718382455, 1)
