-- rotate: remove events older than $1, as far as it is time and nobody is in the way; tell what was done.
select flowcraft.rotate($1::interval)
