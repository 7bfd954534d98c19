//! The two forms in which metrics are read: OpenMetrics for those who ask for it, Prometheus' older text for all others.
//!
//! The registry writes OpenMetrics. The older form differs in that a counter's family is called as its sample is
//! (`…_total`), in two words for types, and in having no end mark; readers of it take anything else for a fault.

/// A form of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// The form for a client that says `accept`: OpenMetrics where it is named.
    pub(crate) fn accepted(accept: Option<&str>) -> Self {
        let names = accept.is_some_and(|accept| accept.to_ascii_lowercase().contains("application/openmetrics-text"));
        if names { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What the registry wrote, in this form.
    pub(crate) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => older(&open_metrics),
        }
    }
}

fn older(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some(help) = line.strip_prefix("# HELP ") {
            // Whether it helps a counter, the next line tells.
            let counter = lines.peek().is_some_and(|next| next.starts_with("# TYPE ") && next.ends_with(" counter"));
            let (name, help) = help.split_once(' ').unwrap_or((help, ""));
            text += &format!("# HELP {name}{} {help}\n", if counter { "_total" } else { "" });
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.rsplit_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            text += &format!("# TYPE {name}{suffix} {kind}\n");
        } else {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_called_as_their_samples_are_in_the_older_form() {
        let open = "# HELP a Counted.\n# TYPE a counter\na_total{m=\"# TYPE x counter\"} 1\n# HELP g Now.\n# TYPE g gauge\n\
                    g 2\n# EOF\n";
        let text = "# HELP a_total Counted.\n# TYPE a_total counter\na_total{m=\"# TYPE x counter\"} 1\n\
                    # HELP g Now.\n# TYPE g gauge\ng 2\n";
        assert_eq!(Form::Text.of(open.to_owned()), text);
        assert_eq!(Form::OpenMetrics.of(open.to_owned()), open);
    }

    #[test]
    fn the_form_is_the_one_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for (accept, form) in [
            (None, Form::Text),
            (Some("*/*"), Form::Text),
            (Some("text/plain"), Form::Text),
            (Some(prometheus), Form::OpenMetrics),
            (Some("Application/OpenMetrics-Text"), Form::OpenMetrics),
        ] {
            assert_eq!(Form::accepted(accept), form, "{accept:?}");
        }
    }
}
