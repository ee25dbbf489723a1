alter table authorities add column root_id bytea;
alter table authorities add column issuing_id bytea;
alter table authorities add column next_key_id bytea;
alter table authorities add column changes bigint not null default 0;
alter table authorities add column warned_at bigint;

alter table ca_certificates add column key_place text not null default 'store';
alter table ca_certificates add column superiors text;
alter table ca_certificates add column last_list bytea;

update authorities set root_id = (select ca_certificates.id from ca_certificates
    where ca_certificates.authority_id = authorities.id and ca_certificates.role = 'root');

update authorities set issuing_id = coalesce((select ca_certificates.id from ca_certificates
    where ca_certificates.authority_id = authorities.id and ca_certificates.role = 'issuing'), root_id);
