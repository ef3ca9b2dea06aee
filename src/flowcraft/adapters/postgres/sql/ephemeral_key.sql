-- ephemeral_key: what ephemeral events are checked with. After `may_check`.
select inner_key, outer_key, newest from flowcraft.ephemeral_key()
