-- The token that was shown when a grant was given. What was given before can be redeemed no more.
alter table grants add column given_with bytea;
