create table cursors (
    name text not null primary key,
    event_id bigint not null
);
