-- What is open is found without what is over.
CREATE INDEX alerts_open_by_id ON alerts (id) WHERE is_open = 1;

-- An Alertmanager is told what is open from the alerts themselves.
DELETE FROM alert_deliveries WHERE event = 'opened' AND receiver IN
    (SELECT name FROM alert_receivers WHERE json_extract(body, '$.target') = 'alertmanager');

-- What ended last.
CREATE INDEX rollouts_over ON rollouts (revision) WHERE is_over = 1;
