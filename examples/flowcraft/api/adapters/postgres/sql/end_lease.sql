-- The run needs no worker, or waits for another one.
delete from leases where run_id = $1
