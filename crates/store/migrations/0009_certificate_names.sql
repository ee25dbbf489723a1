create table certificate_names (
    name text not null,
    account_id bytea not null,
    certificate_id bytea not null references certificates (id) on delete cascade,
    primary key (name, account_id, certificate_id)
);

create index certificate_names_certificate on certificate_names (certificate_id);
