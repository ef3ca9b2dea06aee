-- rotate: remove events older than $1, as far as it is time and no lock is in the way; return what was done.
select flowcraft.rotate($1::interval)
