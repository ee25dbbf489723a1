-- Names of listed keys are looked up, whether a key was made on its own or not.
create index private_key_labels_named on private_key_labels (account_id, name);

-- A certificate may have left the key that it got its name under; what is under a key is looked at
-- while the key is held.
drop index certificate_labels_name;
