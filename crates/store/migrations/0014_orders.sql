create table orders (
    expires_at bigint,
    created_at bigint not null,
    updated_at bigint not null,
    certificate_id bytea not null primary key,
    account_id bytea not null,
    directory_id bytea not null references directories (id) on delete cascade,
    identifiers text not null,
    profile text,
    replaces text,
    url text,
    challenge text,
    sealed_key bytea not null
);

create index orders_directory on orders (directory_id);
