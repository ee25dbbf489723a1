-- Up to which certificate, by its end, was told that it ends in so many days.
create table expiry_places (
    days bigint not null primary key,
    not_after bigint not null,
    certificate_id bytea
);
