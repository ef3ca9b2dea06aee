-- What the shop keeps, in cents. It may be run again.
create table if not exists accounts (owner text primary key, balance int not null check (balance >= 0));
create table if not exists menu (item text primary key, price int not null);
create table if not exists steps (before text, after text, primary key (before, after));
create table if not exists orders (
    id int generated always as identity primary key,
    buyer text not null references accounts,
    item text not null references menu,
    price int not null,
    status text not null default 'paid' check (status in ('paid', 'packed', 'shipped', 'cancelled'))
);
insert into accounts values ('Shop', 0), ('Ada', 12000), ('Grace', 9000), ('Linus', 4500) on conflict do nothing;
insert into menu values ('Lamp', 3900), ('Notebook', 650), ('Pencils', 280), ('Stool', 2400) on conflict do nothing;
insert into steps values ('paid', 'packed'), ('packed', 'shipped'), ('paid', 'cancelled') on conflict do nothing;

-- An order and its money, in one transaction: a balance below zero refuses both.
create or replace function place(buyer text, item text) returns void begin atomic
    with placed as (insert into orders (buyer, item, price) select $1, m.item, m.price from menu as m where m.item = $2 returning *)
    update accounts set balance = balance + case owner when 'Shop' then price else -price end
    from placed where owner in ('Shop', placed.buyer);
end;

-- The next status of an order; the money comes back when it is cancelled.
create or replace function move(order_id int, status text) returns void language plpgsql as $$
begin
    update orders set status = $2 where id = $1 and (orders.status, $2) in (table steps);
    if not found then raise check_violation using message = format('it cannot be %s now', $2); end if;
    update accounts set balance = balance + case owner when 'Shop' then -price else price end
    from orders where orders.id = $1 and $2 = 'cancelled' and owner in ('Shop', buyer);
end $$;
