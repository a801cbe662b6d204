pub(super) fn parse(text: &str) -> Option<i64> {
    text.get(..10)?.parse::<chrono::NaiveDate>().ok().map(|date| {
        date.and_hms_opt(0, 0, 0)
            .unwrap_or_default()
            .and_utc()
            .timestamp_millis()
    })
}
