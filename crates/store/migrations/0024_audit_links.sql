-- The chain over the events. A link covers those after the link before, up to its last one.
create table audit_links (
    number {position} not null primary key,
    last_event bigint not null,
    events bigint not null,
    linked_at bigint not null,
    hash bytea not null,
    key_id bytea not null
);
