create table webhooks (
    created_at bigint not null,
    trusted boolean not null,
    id bytea not null primary key,
    account_id bytea not null references accounts (id) on delete cascade,
    url text not null,
    kinds text not null,
    format text not null,
    secret bytea not null
);

create index webhooks_account on webhooks (account_id, id);

create table deliveries (
    event_id bigint not null,
    attempt bigint not null,
    next_action_at bigint not null,
    created_at bigint not null,
    id bytea not null primary key,
    webhook_id bytea not null references webhooks (id) on delete cascade,
    body text not null
);

create unique index deliveries_event on deliveries (webhook_id, event_id);

create index deliveries_next_action on deliveries (next_action_at);
