//! The access log.

use super::values::{any, structure, text};
use sallyport_config::ir::{AccessLog as Written, LogFormat};
use sallyport_wire::envoy::envoy::config::accesslog::v3::{AccessLog, access_log};
use sallyport_wire::envoy::envoy::config::core::v3::{
    DataSource, SubstitutionFormatString, data_source, substitution_format_string::Format,
};
use sallyport_wire::envoy::envoy::extensions::access_loggers::file::v3::{
    FileAccessLog, file_access_log::AccessLogFormat,
};

/// The access log of a filter chain; none when it is off.
pub(super) fn access_log(written: Option<&Written>) -> Vec<AccessLog> {
    let Some(written) = written else {
        return Vec::new();
    };
    let format = match &written.format {
        LogFormat::Text(line) => {
            let end = if line.ends_with('\n') { "" } else { "\n" };
            let line = format!("{line}{end}");
            Format::TextFormatSource(DataSource {
                specifier: Some(data_source::Specifier::InlineString(line)),
                ..DataSource::default()
            })
        }
        LogFormat::Json(members) => {
            let mut format = structure([]);
            let members = members.iter();
            format
                .fields
                .extend(members.map(|(name, value)| (name.clone(), text(value))));
            Format::JsonFormat(format)
        }
    };
    let file = FileAccessLog {
        path: written.path.clone(),
        access_log_format: Some(AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(format),
            ..SubstitutionFormatString::default()
        })),
    };
    vec![AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        filter: None,
        config_type: Some(access_log::ConfigType::TypedConfig(any(&file))),
    }]
}
