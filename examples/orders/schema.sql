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
