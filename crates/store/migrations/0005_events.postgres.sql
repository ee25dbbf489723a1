create table event_counter (
    last bigint not null
);

insert into event_counter (last) values (0);
