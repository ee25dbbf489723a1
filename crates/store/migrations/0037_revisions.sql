-- Raised by everything that is installed on a service, for those who have looked at it before.
alter table services add column revision bigint not null default 0;
