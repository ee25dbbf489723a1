alter table private_keys add column kept boolean not null default false;
