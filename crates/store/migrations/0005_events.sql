create table events (
    id {position} not null primary key,
    at bigint not null,
    account_id bytea,
    object bytea,
    actor text not null,
    kind text not null,
    detail text not null
);

create index events_account on events (account_id, id)
    where account_id is not null;
