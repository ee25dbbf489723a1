create table switches (
    changed_at bigint not null,
    value boolean not null,
    name text not null primary key
);

create table preauthorizations (
    created_at bigint not null,
    account_id bytea not null references accounts (id) on delete cascade,
    pattern text not null,
    primary key (account_id, pattern)
);
