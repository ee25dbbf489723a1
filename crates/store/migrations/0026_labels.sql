-- What private keys and certificates are known by beside their identifiers: numbers, names and the
-- parts of a subject. Most get theirs when somebody first asks.
create table numbers (
    last bigint not null,
    kind text not null primary key
);

insert into numbers (last, kind) values (0, 'certificate'), (0, 'private_key');

create table private_key_labels (
    number bigint not null primary key,
    on_its_own boolean not null,
    private_key_id bytea not null references private_keys (id) on delete cascade,
    account_id bytea not null references accounts (id) on delete cascade,
    name text not null
);

create unique index private_key_labels_key on private_key_labels (private_key_id);

create unique index private_key_labels_name on private_key_labels (name, account_id)
    where on_its_own;

create index private_key_labels_account on private_key_labels (account_id, number);

-- Without a name it is known by that of the certificate.
create table certificate_labels (
    number bigint not null primary key,
    certificate_id bytea not null references certificates (id) on delete cascade,
    account_id bytea not null,
    private_key_id bytea,
    name text,
    common_name text not null,
    organization_name text not null,
    organization_unit text not null,
    locality text not null,
    state_province text not null,
    country_code text not null,
    email text not null
);

create unique index certificate_labels_certificate on certificate_labels (certificate_id);

create unique index certificate_labels_name on certificate_labels (name, private_key_id)
    where name is not null;

create index certificate_labels_account on certificate_labels (account_id, number);

create index versions_private_key on versions (private_key_id)
    where private_key_id is not null;
