-- Everything that the page shows and the cursor of that moment, from one snapshot.
select json_build_object(
    'data', json_build_object(
        'orders', (
            select coalesce(json_agg(o order by order_id desc), '[]')
            from (select 'OrderUpdate' as type, id as order_id, buyer, item, price, status from orders) as o
        ),
        'accounts', (
            select coalesce(json_agg(a order by owner), '[]')
            from (select 'AccountUpdate' as type, owner, balance from accounts) as a
        ),
        'menu', (select json_agg(m order by item) from menu as m)
    ),
    'cursor', flowcraft.cursor()
)
