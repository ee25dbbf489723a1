create table directories (
    rank bigint not null,
    created_at bigint not null,
    trusted boolean not null,
    id bytea not null primary key,
    account_id bytea references accounts (id) on delete cascade,
    name text not null,
    url text not null,
    contact text,
    roots text,
    account_url text,
    account_key bytea not null,
    next_account_key bytea,
    external_account_id text,
    external_account_key bytea,
    profile text,
    preferred_chain text,
    limits text
);

create unique index directories_name on directories (account_id, name)
    where account_id is not null;

create unique index directories_shared_name on directories (name)
    where account_id is null;

create table default_issuers (
    account_id bytea not null primary key references accounts (id) on delete cascade,
    issuer text not null
);

create table budgets (
    level bigint not null,
    directory_id bytea not null references directories (id) on delete cascade,
    bucket text not null,
    primary key (directory_id, bucket)
);

create index budgets_level on budgets (level);
