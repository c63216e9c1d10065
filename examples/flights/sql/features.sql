-- One row per flight that arrived: what is known before departure, the label, and the part it belongs to.
--
-- Left out on purpose: dep_time, dep_delay, arr_time, arr_delay, air_time and tailnum are known only afterwards
-- (the tail number changes up to departure). Cancelled and diverted flights have no arr_delay, hence no label.
SELECT
    -- The key: a carrier uses a flight number at most once a day at an airport.
    concat('2013-', lpad(CAST(CAST(flights.month AS BIGINT) AS VARCHAR), 2, '0'), '-',
           lpad(CAST(CAST(flights.day AS BIGINT) AS VARCHAR), 2, '0'), ' ', flights.carrier, ' ',
           CAST(CAST(flights.flight AS BIGINT) AS VARCHAR), ' ', flights.origin) AS flight_id,

    -- The day, local: the moment that the truth about a prediction belongs to.
    CAST(make_date(CAST(flights.year AS INT), CAST(flights.month AS INT), CAST(flights.day AS INT)) AS TIMESTAMP)
        AS flight_date,

    -- When: the day of the week from 0 (Sunday), the scheduled times as minutes since local midnight.
    CAST(flights.month AS BIGINT) AS month,
    CAST(date_part('dow', make_date(CAST(flights.year AS INT), CAST(flights.month AS INT), CAST(flights.day AS INT)))
        AS BIGINT) AS day_of_week,
    CAST(flights.hour AS BIGINT) * 60 + CAST(flights.minute AS BIGINT) AS departure_minute,
    CAST(flights.sched_arr_time AS BIGINT) / 100 * 60 + CAST(flights.sched_arr_time AS BIGINT) % 100 AS arrival_minute,

    -- Who and where.
    flights.carrier,
    flights.origin,
    flights.dest,
    CAST(flights.distance AS DOUBLE) AS distance,

    -- The weather at the airport of departure in the scheduled hour; missing where no report exists.
    weather.temp,
    weather.dewp,
    weather.humid,
    weather.wind_dir,
    weather.wind_speed,
    weather.wind_gust,
    weather.precip,
    weather.pressure,
    weather.visib,

    -- The label: 15 or more minutes late at the gate, as the Bureau of Transportation Statistics counts it.
    CASE WHEN flights.arr_delay >= 15 THEN CAST(1 AS BIGINT) ELSE CAST(0 AS BIGINT) END AS late,

    -- Split by time, as the model will be used: learn from the past, be judged on what came later.
    CASE
        WHEN flights.month <= 5 THEN 'train'
        WHEN flights.month = 6 THEN 'validation'
        ELSE 'test'
    END AS split
FROM flights
LEFT JOIN weather
    ON weather.origin = flights.origin
    AND CAST(weather.time_hour AS TIMESTAMP) = CAST(flights.time_hour AS TIMESTAMP)
WHERE flights.arr_delay IS NOT NULL
ORDER BY flights.time_hour, flight_id
