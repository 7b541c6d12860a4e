//! The two text formats of metrics: `OpenMetrics`, and the older one that every scraper reads.

use axum::http::{HeaderMap, header::ACCEPT};

/// A text format of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    /// Prometheus' text format, version 0.0.4.
    Plain,
}

impl Format {
    /// What `Accept` asks for (RFC 9110 §12.5.1). Who does not name `OpenMetrics` may not read it.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (mut open, mut plain) = (0.0, None);
        for choice in accepted.flat_map(|value| value.split(',')) {
            let mut parts = choice.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f64>);
            let weight = weight.unwrap_or(0.0);
            match &*range {
                "application/openmetrics-text" => open = weight.max(open),
                "text/plain" => plain = Some(weight.max(plain.unwrap_or(0.0))),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain.unwrap_or(0.0) { Self::OpenMetrics } else { Self::Plain }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// `OpenMetrics` as the older format has it: a counter's family is named like its sample, some types have other names,
/// there are no units, exemplars and end mark.
pub(super) fn plain(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(words) = line.strip_prefix("# HELP ") {
            help = words.split_once(' '); // until the type is known, and with it the name
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|words| words.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "stateset" => ("", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text += line.split_once(" # {").map_or(line, |(sample, _exemplar)| sample);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn who_names_open_metrics_and_likes_nothing_better_gets_it() {
        for (accept, expected) in [
            (None, Format::Plain),
            (Some("*/*"), Format::Plain),
            (Some("text/plain;version=0.0.4"), Format::Plain),
            (Some("application/openmetrics-text"), Format::OpenMetrics),
            (
                Some("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
                Format::OpenMetrics,
            ),
            (Some("application/openmetrics-text; version=1.0.0; q=0.2, text/plain; q=0.9"), Format::Plain),
            (Some("Application/OpenMetrics-Text;q=0"), Format::Plain),
            (Some("text/plain, application/openmetrics-text"), Format::OpenMetrics),
        ] {
            let headers = accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept)));
            assert_eq!(Format::accepted(&HeaderMap::from_iter(headers)), expected, "{accept:?}");
        }
    }

    #[test]
    fn families_are_named_as_the_older_format_wants_it() {
        let open = "# HELP a_b Words of a.\n# TYPE a_b counter\na_b_total{c=\"d\"} 1 # {d=\"e\"} 1\n\
                    # HELP g Words.\n# TYPE g gauge\n# UNIT g seconds\ng 0.5\n# TYPE i info\ni_info{v=\"1\"} 1\n\
                    # TYPE u unknown\nu 1\n# EOF\n";
        insta::assert_snapshot!(plain(open), @r#"
        # HELP a_b_total Words of a.
        # TYPE a_b_total counter
        a_b_total{c="d"} 1
        # HELP g Words.
        # TYPE g gauge
        g 0.5
        # TYPE i_info gauge
        i_info{v="1"} 1
        # TYPE u untyped
        u 1
        "#);
    }
}
