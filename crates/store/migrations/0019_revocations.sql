-- Whether what an order replaces is revoked once its successor is in service.
alter table orders add column supersedes boolean not null default false;

-- What directories still have to be told of.
create table revocations (
    next_action_at bigint not null,
    attempt bigint not null,
    not_after bigint not null,
    reason bigint not null,
    version_id bytea not null primary key,
    directory_id bytea not null references directories (id) on delete cascade,
    leaf bytea not null
);

create index revocations_next_action on revocations (next_action_at);

create index revocations_directory on revocations (directory_id);
