-- What is wanted (subject to public_key) is kept only while the order waits.
create table inbound_orders (
    expires_at bigint not null,
    created_at bigint not null,
    completed_at bigint,
    days bigint not null,
    id text not null primary key,
    account_id bytea not null references accounts (id) on delete cascade,
    version_id bytea,
    token text not null,
    kinds text not null,
    form text not null,
    authority text not null,
    subject bytea,
    identifiers text,
    key_algorithm text,
    public_key bytea
);

create index inbound_orders_account on inbound_orders (account_id, expires_at)
    where identifiers is not null;

create index inbound_orders_waiting on inbound_orders (expires_at)
    where identifiers is not null;

create index inbound_orders_created on inbound_orders (created_at);

create table inbound_proofs (
    proven_at bigint not null,
    order_id text not null references inbound_orders (id) on delete cascade,
    identifier text not null,
    primary key (order_id, identifier)
);
