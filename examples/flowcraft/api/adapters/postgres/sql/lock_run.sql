-- A run, its row held to the end of the transaction: having waited for the lock, this returns the row as it is then.
select to_json(r) from run_states r where run_id = $1 for no key update
