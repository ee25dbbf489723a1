-- The identity of the directory that a target delivers into. The directories that are there keep that
-- of their target.
alter table targets add column directory_id bytea;
update targets set directory_id = id;
create unique index targets_directory on targets (account_id, directory_id);

-- Whether it was told that there are more certificates than the target can have.
alter table targets add column overfull boolean not null default false;
