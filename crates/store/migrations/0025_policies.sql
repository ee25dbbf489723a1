create table policies (
    account_id bytea not null primary key references accounts (id) on delete cascade,
    policy text not null
);
