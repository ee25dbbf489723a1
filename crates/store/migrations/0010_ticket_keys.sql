create table ticket_keys (
    generation bigint not null primary key,
    created_at bigint not null,
    sealed bytea not null
);
